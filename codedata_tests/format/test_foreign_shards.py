"""Shards that `pickle.dump` wrote: read exactly as pickle reads them, or refused, never executed.

`pickle.loads` is the measure of what is accepted; pickles that would execute something are in
test_hostile_pickles.
"""

import enum
import io
import pickle
import pickletools
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codedata.errors import DatasetError
from codedata.format.foreign_shards import decode_foreign_shard

Rows = list[list[int]]

ROWS: Rows = [[1, 300, 70_000], [40, 93, 101]]
"""Ids of every width, and some whose bytes are opcodes: ( ] e."""

EDGES = [0, 1, 40, 93, 97, 101, 255, 256, 65_535, 65_536, 2**24, 2**31 - 1]
PROTOCOLS = [2, 3, 4, 5]
EITHER_GRAMMAR = pytest.mark.parametrize("protocol", [2, 4])
"""Memo numbers or frames; 3 and 5 write what the one before them does."""

REFUSED = "x is not a list of lists of token ids as pickle.dump writes it (protocol 2 to 5): "


def python_dumps(samples: object, protocol: int) -> bytes:
    """As `pickle.dumps` without the C accelerator; PyPy's is this one."""
    file = io.BytesIO()
    pickle._Pickler(file, protocol).dump(samples)
    return file.getvalue()


PICKLERS: dict[str, Callable[[Any, int], bytes]] = {"C": pickle.dumps, "Python": python_dumps}


def decode(data: bytes, num_samples: int, seq_length: int) -> np.ndarray[Any, np.dtype[Any]]:
    array = np.frombuffer(data, np.uint8)
    return decode_foreign_shard(array, num_samples=num_samples, seq_length=seq_length, name="x")


def refusal(data: bytes, num_samples: int, seq_length: int) -> str:
    with pytest.raises(DatasetError) as error:
        decode(data, num_samples, seq_length)
    assert str(error.value).startswith("x ")
    return str(error.value)


def assert_read(data: bytes, samples: Rows) -> None:
    ids = decode(data, len(samples), len(samples[0]))
    assert ids.shape == (len(samples), len(samples[0]))
    assert np.array_equal(ids, np.array(samples, np.int64))
    assert not ids.flags.writeable


def is_read_as_pickle_does(data: bytes, num_samples: int, seq_length: int) -> bool:
    """False: refused. True: read, and exactly as `pickle.loads` reads it."""
    try:
        ids = decode(data, num_samples, seq_length)
    except DatasetError:
        return False
    loaded = pickle.loads(data)
    assert ids.tolist() == loaded
    assert type(loaded) is list
    assert all(type(row) is list for row in loaded)
    assert all(type(token) is int for row in loaded for token in row)
    return True


def mixed(num_samples: int, seq_length: int, seed: int = 0) -> Rows:
    """Ids of every width beside each other."""
    generator = np.random.default_rng(seed)
    shape = (num_samples, seq_length)
    ids = generator.integers(0, 2**31, shape) >> generator.choice([0, 7, 16, 24], shape)
    return ids.tolist()


def framed(opcodes: bytes, *stops: int) -> bytes:
    """A pickle of protocol 4 whose frames end at `stops` and at the end."""
    pieces = [b"\x80\x04"]
    start = 0
    for stop in (*stops, len(opcodes)):
        pieces += [b"\x95", struct.pack("<Q", stop - start), opcodes[start:stop]]
        start = stop
    return b"".join(pieces)


def opcodes_of(samples: object, protocol: int) -> tuple[bytes, list[int]]:
    """The opcodes without PROTO and FRAMEs, and where each starts."""
    data = pickle.dumps(samples, protocol)
    pieces: list[bytes] = []
    starts: list[int] = []
    position = 0
    places = [(op.name, place) for op, _, place in pickletools.genops(data) if place is not None]
    for (name, start), stop in zip(places, [*(p for _, p in places[1:]), len(data)], strict=True):
        if name not in {"PROTO", "FRAME"}:
            pieces.append(data[start:stop])
            starts.append(position)
            position += stop - start
    return b"".join(pieces), starts


def completed(opcodes: bytes, protocol: int) -> bytes:
    return framed(opcodes) if protocol >= 4 else bytes([0x80, protocol]) + opcodes


# What is read

SHAPES = [
    *((rows, columns) for rows in (1, 2, 999, 1000, 1001, 2001) for columns in (1, 2)),
    *((rows, columns) for rows in (1, 2) for columns in (999, 1000, 1001, 2000, 2001)),
    *((1, 25_000), (20, 5000), (257, 3), (1001, 40)),
]
"""Around batches of 1,000 items, memo numbers of one byte, frames of 64 KiB."""

WRITERS = pytest.mark.parametrize(
    ("pickler", "protocol"), [*(("C", each) for each in PROTOCOLS), ("Python", 2), ("Python", 4)]
)


@WRITERS
def test_what_pickle_writes_is_read(pickler: str, protocol: int) -> None:
    for num_samples, seq_length in [*SHAPES, *([(1001, 1001)] if pickler == "C" else [])]:
        samples = mixed(num_samples, seq_length, seed=num_samples + seq_length)
        assert_read(PICKLERS[pickler](samples, protocol), samples)
    for largest_id, dtype in {0: "u2", 65_535: "u2", 65_536: "i4", 2**31 - 1: "i4"}.items():
        assert decode(PICKLERS[pickler]([[0, largest_id]], protocol), 1, 2).dtype == dtype


def test_a_frame_may_end_at_every_kind_of_opcode() -> None:
    """Wider ids in the first rows push all of row 31's end over the frame's target."""
    ends: set[bytes] = set()
    for num_wide in range(1190, 1225):
        samples = [[5] * 1002 for _ in range(40)]
        for place in range(num_wide):
            samples[place // 1000][place % 1000] = 500
        data = pickle.dumps(samples, 4)
        end = 11 + struct.unpack("<Q", data[3:11])[0]
        assert data[end : end + 1] == b"\x95"
        ends.add(data[end + 9 : end + 10])
        assert_read(data, samples)
    assert ends >= {b"K", b"]"}


TREACHEROUS = st.lists(st.sampled_from(b"](ea\x94qrKMJ.\x00\x01"), min_size=1, max_size=4).map(
    lambda octets: int.from_bytes(bytes(octets), "little") & 0x7FFFFFFF
)
"""Ids whose bytes look like the starts and ends of rows."""

SAMPLES = arrays(
    np.int64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=TREACHEROUS | st.sampled_from(EDGES) | st.integers(0, 2**31 - 1),
).map(np.ndarray.tolist)


@settings(max_examples=300)
@given(samples=SAMPLES, protocol=st.sampled_from(PROTOCOLS), pickler=st.sampled_from([*PICKLERS]))
@example(samples=[[5, 0x28945D65], [6, 7]], protocol=4, pickler="C")
def test_any_ids_are_read(samples: Rows, protocol: int, pickler: str) -> None:
    assert_read(PICKLERS[pickler](samples, protocol), samples)


@EITHER_GRAMMAR
def test_ids_whose_bytes_look_like_the_start_of_a_row_are_read(protocol: int) -> None:
    """Preceded by what ends a row, too; some rows have the memo numbers `a` and `e`, which do."""
    starts = [b"]\x94(", b"]q\x01(", b"]q\x02", b"]\x94", b"]q"]
    for octets in [b"\0e]q", *(bytes([before]) + start for before in b"ea(M" for start in starts)]:
        token = int.from_bytes(octets[:4].ljust(4, b"\0"), "little")
        assert token < 2**31
        shapes = [(2, 2), (3, 5), *([(103, n) for n in (1, 2, 1001)] if octets[0] == 0 else [])]
        for num_samples, seq_length in shapes:
            samples = [[token] * seq_length for _ in range(num_samples)]
            assert_read(pickle.dumps(samples, protocol), samples)
        assert_read(pickle.dumps([[5, token], [6, 7]], protocol), [[5, token], [6, 7]])


# Objects that are no samples


class Token(enum.IntEnum):
    """An int that is none."""

    ONE = 1


class Samples(list[Any]):
    """A list that is none."""


HUGE = (2**31, 2**32 + 5, 2**63, 2**800, -1, -255, -(2**31), -(2**31) - 1)
NO_IDS = (*HUGE, 2.0, True, False, None, "5", b"6", [1], (), np.int32(1), Token.ONE)
NO_ROWS = (b"abc", "abc", [4, 5], [4, 5, 6, 7], [4], [], (4, 5, 6), {1: 2}, {4, 5, 6}, range(3))
GOOD_ROW = [1, 2, 3]
RECURSIVE: list[Any] = [1, 300]
RECURSIVE.append(RECURSIVE)
NO_LISTS: list[Any] = [
    *([GOOD_ROW], [GOOD_ROW] * 2, [GOOD_ROW, [4, 5, 6], [7, 8, 9]], [RECURSIVE, GOOD_ROW]),
    *([[1, 2], [3, 4, 5, 6]], [], [[], []], [1, 2, 3, 4, 5, 6], [[[1], [2], [3]], [[4], [5], [6]]]),
    *([[GOOD_ROW, [4, 5, 6]]], (GOOD_ROW, [4, 5, 6]), {"a": GOOD_ROW, "b": [4, 5, 6]}),
    *(np.array([GOOD_ROW, [4, 5, 6]]), [np.array(GOOD_ROW), np.array([4, 5, 6])]),
    *(Samples([GOOD_ROW, [4, 5, 6]]), [[1.0] * 3] * 2, 5, None, "12345" * 5),
]
"""With one row twice, rows within themselves, and as many ids as the right one among them."""


@WRITERS
def test_a_pickle_of_anything_else_is_refused(pickler: str, protocol: int) -> None:
    dumps = PICKLERS[pickler]
    good = [GOOD_ROW, [4, 5, 6]]
    assert_read(dumps(good, protocol), good)
    wrong = [[[*GOOD_ROW[:2], bad], [4, 5, 6]] for bad in NO_IDS]
    wrong += [[GOOD_ROW, [bad, 5, 6]] for bad in NO_IDS]
    wrong += [[GOOD_ROW, bad] for bad in NO_ROWS] + [[bad, GOOD_ROW] for bad in NO_ROWS]
    for samples in [*wrong, *NO_LISTS]:
        refusal(dumps(samples, protocol), 2, 3)


@EITHER_GRAMMAR
def test_one_wrong_id_among_many_is_refused(protocol: int) -> None:
    for num_samples, seq_length, row, column in (
        *((2, 1002, row, column) for row, column in ((0, 0), (0, 1000), (1, 999))),
        *((1002, 3, row, column) for row, column in ((1000, 2), (1001, 2))),
    ):
        samples: list[list[Any]] = [[300] * seq_length for _ in range(num_samples)]
        for bad in (1.5, True, None, "5", -1, 2**31, 2**2000, [1], ()):
            samples[row][column] = bad
            message = refusal(pickle.dumps(samples, protocol), num_samples, seq_length)
            assert message.startswith(REFUSED), "not for its size"


def test_other_protocols_are_refused_whoever_claims_them() -> None:
    written = [dumps(ROWS, protocol) for dumps in PICKLERS.values() for protocol in (0, 1)]
    claimed = [bytes([0x80, n]) + pickle.dumps(ROWS, 2)[2:] for n in (0, 1, 6, 7, 128, 255)]
    for data in written + claimed:
        assert refusal(data, 2, 3).startswith(REFUSED + "it does not start as a pickle of protocol")


def test_a_shape_that_is_not_the_meta_s_is_refused() -> None:
    data = pickle.dumps(ROWS, 4)
    for shape in [(n, m) for n in range(1, 7) for m in range(1, 7) if (n, m) != (2, 3)]:
        refusal(data, *shape)
    for num_samples, seq_length in ((2**62, 3), (2, 2**61), (2**62, 2**62), (10**6, 1), (1, 10**6)):
        assert refusal(data, num_samples, seq_length) == (
            f"x has {len(data)} bytes, which cannot be {num_samples} samples of {seq_length} "
            "tokens: it is truncated, or belongs to another meta; make the dataset again"
        )


# Frames

FRAME_ROWS = [[300] * 1001 for _ in range(50)]


def test_frames_may_end_only_between_two_opcodes() -> None:
    """An opcode that straddles two would read the second one's header as its own bytes."""
    opcodes, starts = opcodes_of(FRAME_ROWS, 4)
    num_read = 0
    around = next(start for start in starts if start > 66_000 and opcodes[start] == ord("]"))
    for stop in range(around - 20, around + 20):
        data = framed(opcodes, stop)
        if stop in starts:
            num_read += 1
            assert pickle.loads(data) == FRAME_ROWS
            assert_read(data, FRAME_ROWS)
        else:
            assert refusal(data, 50, 1001).startswith(REFUSED + "an opcode straddles two frames")
    assert 15 < num_read < 30


def test_frames_that_pickle_does_not_write_are_refused_though_it_reads_them() -> None:
    opcodes, starts = opcodes_of(FRAME_ROWS, 4)
    small = [(0,), (1,), (2,), (3,), (1, 2, 3, 5), (65_535,), (65_538, 65_538), (65_538, 65_547)]
    for stops in small:  # frames of less than 64 KiB, but for the last
        assert set(stops) <= set(starts)
        data = framed(opcodes, *stops)
        assert pickle.loads(data) == FRAME_ROWS
        assert "has an impossible length" in refusal(data, 50, 1001)
    opcodes, starts = opcodes_of(ROWS, 4)
    for data, said in (
        (framed(opcodes, *starts[1:]), "x has 202 bytes, which cannot be 2 samples"),
        (b"\x80\x04" + opcodes, REFUSED + "byte 2 does not start a frame"),
        (b"\x80\x05" + opcodes, REFUSED + "byte 2 does not start a frame"),
        (b"\x80\x02" + framed(opcodes_of(ROWS, 2)[0])[2:], REFUSED),
    ):
        assert pickle.loads(data) == ROWS
        assert refusal(data, 2, 3).startswith(said)
    wrong = [0, 1, 3, 2**16, 2**32, 2**62, 2**63, 2**64 - 1, len(opcodes) + 1, len(opcodes) - 5]
    for length in wrong:
        data = b"\x80\x04\x95" + struct.pack("<Q", length) + opcodes
        assert refusal(data, 2, 3).startswith(REFUSED)


@EITHER_GRAMMAR
def test_bytes_after_the_end_are_refused_and_so_is_every_prefix(protocol: int) -> None:
    """Within the frame and after it; `pickle.load` would leave them unread."""
    opcodes, whole = opcodes_of(ROWS, protocol)[0], pickle.dumps(ROWS, protocol)
    for trailer in (b".", b"e.", b"\0", b"\n", b"0", b"K\x05.", b"\x80\x02].", b"\x95" + bytes(8)):
        for data in (whole + trailer, completed(opcodes + trailer, protocol)):
            assert pickle.loads(data) == ROWS
            assert refusal(data, 2, 3).startswith(REFUSED)
    refusal(whole + whole, 2, 3)
    refusal(whole + whole, 4, 3)
    for samples in (ROWS, [[5]], [[5, 6]], [[5], [6]], mixed(3, 40)):
        data = pickle.dumps(samples, protocol)
        for num_bytes in range(len(data)):
            refusal(data[:num_bytes], len(samples), len(samples[0]))


# Time and memory

SIZE = 1_000_000
WRONG_AT = [(650, 1536, 2, 300, 0.001), (20, 50_000, 4, 5, 0.999), (1, 500_000, 2, 300, 0.001)]
WRONG_AT += [(1, 500_000, 4, 5, 0.999), (250_000, 1, 4, 5, 0.999)]
"""Shapes, protocols, ids, and how far along the file an opcode is NONE's."""

BOMBS = [
    b"\x80\x02]q\x00(" + b"e]q\x01(" * (SIZE // 5),  # starts of rows
    framed(b"]\x94(" + b"]\x94(" * (SIZE // 3)),
    framed(b"]\x94(" + b"e]\x94(" * (SIZE // 4)),  # and ends of them
    framed(b"]\x94(]\x94(" + b"J]\x94((" * (SIZE // 5)),  # starts within ids
    framed(b"]" * SIZE + b"a" * SIZE + b"."),  # lists nested
    b"\x80\x02]q\x00" + b"(" * SIZE,  # marks
    b"\x80\x02]q\x00(]q\x01(" + b"K\x01" * (SIZE // 2),  # ids without end
    b"\x80\x02" + bytes(SIZE),
    b"\x80\x04" + (b"\x95" + bytes(8)) * (SIZE // 9 + 1),  # frames of no bytes
    b"\x80\x04" + (b"\x95\x04" + bytes(7) + b"]0]0") * (SIZE // 13),  # and of four
]
"""Files that make a reader search, nest or allocate."""


def large_files() -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    """Each with the shapes that a meta may claim for it."""
    for num_samples, seq_length, protocol, largest_id, where in WRONG_AT:
        ids = np.full((num_samples, seq_length), largest_id).tolist()
        data = bytearray(pickle.dumps(ids, protocol))
        data[data.index(b"K" if largest_id < 256 else b"M", int(len(data) * where))] = ord("N")
        yield bytes(data), [(num_samples, seq_length)]
    for data in BOMBS:
        lengths = (1, 2, 1000, len(data) // 5)
        yield data, [(len(data) // (4 * n + 4) or 1, n) for n in lengths]


@pytest.mark.campaign
@pytest.mark.timeout(600)  # 45 files
def test_a_large_hostile_file_is_refused_in_a_second_and_ten_times_its_size() -> None:
    for data, shapes in large_files():
        assert len(data) >= SIZE
        for num_samples, seq_length in shapes:
            start = time.process_time()
            message = refusal(data, num_samples, seq_length)
            assert time.process_time() - start < 5  # a fifth of one, most often
            assert message.startswith(REFUSED), "not for its size"
        tracemalloc.start()
        refusal(data, *shapes[0])
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 10 * len(data)


# Mutations: refused, or read exactly as pickle reads them


@EITHER_GRAMMAR
def test_a_flipped_bit_is_refused_or_read_as_pickle_reads_it(protocol: int) -> None:
    samples = [[1, 300, 70_000, 255], [2**31 - 1, 0, 93, 40]]
    whole = pickle.dumps(samples, protocol)
    num_read = 0
    for place in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            num_read += is_read_as_pickle_does(bytes(data), 2, 4)
    id_bits = 8 * (1 + 2 + 4 + 1 + 4 + 1 + 1 + 1) - 2
    protocol_bits = 1
    assert num_read == id_bits + protocol_bits, "ids but their signs, and 2 for 3 or 4 for 5"


@pytest.mark.campaign
@EITHER_GRAMMAR
@pytest.mark.parametrize("samples", [[[5, 300], [70_000, 6]], [[5], [6]], [[5, 6, 7]]], ids=str)
def test_any_byte_put_in_left_out_or_replaced_is_refused_or_read_as_pickle_reads_it(
    samples: Rows, protocol: int
) -> None:
    opcodes, _ = opcodes_of(samples, protocol)
    shape = len(samples), len(samples[0])
    num_read = 0
    for place in range(len(opcodes)):
        before, after = opcodes[:place], opcodes[place + 1 :]
        num_read += is_read_as_pickle_does(completed(before + after, protocol), *shape)
        for byte in range(256):
            replaced = completed(before + bytes([byte]) + after, protocol)
            num_read += is_read_as_pickle_does(replaced, *shape)
            put_in = completed(before + bytes([byte]) + opcodes[place:], protocol)
            num_read += is_read_as_pickle_does(put_in, *shape)
    num_id_bytes = sum(1 if i < 256 else 2 if i < 65_536 else 4 for row in samples for i in row)
    assert num_read >= 256 * num_id_bytes - 128, "every value of every byte of an id but the sign"


@pytest.mark.campaign
@EITHER_GRAMMAR
@pytest.mark.parametrize(
    ("num_samples", "seq_length"), [(1001, 2), (1002, 1), (2, 1001), (2, 1002), (70, 1001)]
)
def test_any_opcode_at_the_end_of_a_batch_is_refused_or_read_as_pickle_reads_it(
    num_samples: int, seq_length: int, protocol: int
) -> None:
    opcodes, starts = opcodes_of([[300] * seq_length for _ in range(num_samples)], protocol)
    names = bytes(opcodes[start] for start in starts)
    ends = {i for i in range(len(names) - 1) if names[i] in b"ea" and names[i + 1] in b"e(a"}
    places = sorted({place for end in ends for place in (end - 1, end, end + 1, end + 2)})
    num_read = 0
    for place in places[:8]:
        before, after = opcodes[: starts[place]], opcodes[starts[place] + 1 :]
        was = opcodes[starts[place] : starts[place] + 1]
        for new in (b"", was, was + was, b"]", b"(", b"e", b"a", b"K", b"M", b".", b"0"):
            mutant = completed(before + new + after, protocol)
            num_read += is_read_as_pickle_does(mutant, num_samples, seq_length)
    assert num_read >= len(places[:8]), "at least where the byte is the one that was there"


@EITHER_GRAMMAR
@pytest.mark.parametrize("num_samples", [1, 2, 70])
def test_a_second_batch_without_its_mark_is_refused(num_samples: int, protocol: int) -> None:
    """`a` in place of `( ... e` would append the last id alone, and to an id."""
    batch = b"M\x2c\x01" * 2
    opcodes, _ = opcodes_of([[300] * 1002 for _ in range(num_samples)], protocol)
    assert opcodes.count(b"e(" + batch + b"e") == num_samples
    unmarked = completed(opcodes.replace(b"e(" + batch + b"e", b"e" + batch + b"a"), protocol)
    assert refusal(unmarked, num_samples, 1002).startswith(REFUSED)


MUTATED_SAMPLES = [
    *(ROWS, [[5]], [[5, 6]], [[5], [6]], [[93, 40, 101], [97, 300, 77], [0x28945D, 74, 75]]),
    *([[70_000] * 4, [300] * 4, [5] * 4], [[i] for i in range(99)]),
    [[i, 2**30] for i in range(102)],
]
OPCODES = b"](eaKMJ.\x94qrh0123cRi(lt\x80\x95\x00\x01\x02\x04N)}2"
NEW = st.lists(st.sampled_from(OPCODES) | st.integers(0, 255), max_size=3).map(bytes)


def mutated(opcodes: bytes, data: st.DataObject) -> bytes:
    """One to four runs replaced by other bytes, by none, by themselves twice, or by another run."""
    mutant = bytearray(opcodes)
    for _ in range(data.draw(st.integers(1, 4))):
        start, other = (data.draw(st.integers(0, len(mutant))) for _ in range(2))
        stop = start + data.draw(st.integers(0, 6))
        runs = [bytes(mutant[start:stop]) * 2, bytes(mutant[other : other + 6])]
        mutant[start:stop] = data.draw(NEW | st.sampled_from(runs))
    return bytes(mutant)


@pytest.mark.parametrize(
    "max_examples",
    [
        200,
        pytest.param(2000, marks=pytest.mark.campaign),
        pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_mutants_are_refused_or_read_as_pickle_reads_them(max_examples: int) -> None:
    @settings(max_examples=max_examples)
    @given(
        samples=st.sampled_from(MUTATED_SAMPLES),
        protocol=st.sampled_from(PROTOCOLS),
        pickler=st.sampled_from([*PICKLERS]),
        data=st.data(),
    )
    def mutate(samples: Rows, protocol: int, pickler: str, data: st.DataObject) -> None:
        pickled = PICKLERS[pickler](samples, protocol)
        if protocol >= 4 and data.draw(st.booleans(), label="with a frame that fits"):
            mutant = completed(mutated(pickled[11:], data), protocol)
        else:
            mutant = mutated(pickled, data)
        num_samples = len(samples) + data.draw(st.sampled_from([0, 0, 0, 1, -1]))
        is_read_as_pickle_does(mutant, max(1, num_samples), len(samples[0]))

    mutate()
