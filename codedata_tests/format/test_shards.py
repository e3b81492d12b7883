"""Fixed-width shards: the bytes by hand, what plain pickle makes of them, and every damage."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codedata.errors import DatasetError
from codedata.format.foreign_shards import decode_foreign_shard
from codedata.format.shards import encode_shard, is_fixed_width, view_shard

EDGES = [0, 1, 40, 46, 74, 77, 93, 101, 128, 255, 256, 65_535, 65_536, 2**24, 2**31 - 1]
"""Where widths change, and the bytes that are opcodes of the format: ( . J M ] e and \\x80."""


def encoded(samples: Any, pad_token: int = 0) -> bytes:
    return b"".join(map(bytes, encode_shard(np.array(samples, np.int64), pad_token=pad_token)))


def view(data: bytes, num_samples: int, seq_length: int) -> np.ndarray[Any, np.dtype[Any]]:
    """As the folder's reader does it: by the first bytes, one of the two decoders."""
    array = np.frombuffer(data, np.uint8)
    read = view_shard if is_fixed_width(array) else decode_foreign_shard
    return read(array, num_samples=num_samples, seq_length=seq_length, name="dump-7.pkl")


def refusal(data: bytes, num_samples: int, seq_length: int) -> str:
    with pytest.raises(DatasetError) as error:
        view(data, num_samples, seq_length)
    assert "dump-7.pkl" in str(error.value)
    return str(error.value)


# The bytes


def test_the_bytes_of_a_shard_with_ids_of_two_bytes() -> None:
    assert encoded([[1, 0x0203], [0, 65_535]], pad_token=65_535) == (
        b"\x80\x02]("  # protocol 2, the list of samples, a mark
        b"](M\x01\x00M\x03\x02e"
        b"](M\x00\x00M\xff\xffe"
        b"e."  # append all, stop
    )


def test_the_bytes_of_a_shard_with_ids_of_four_bytes() -> None:
    assert encoded([[1, 0x04030201], [0, 2**31 - 1]]) == (
        b"\x80\x02](](J\x01\x00\x00\x00J\x01\x02\x03\x04e](J\x00\x00\x00\x00J\xff\xff\xff\x7fee."
    )


def test_the_width_follows_the_largest_id_and_the_pad() -> None:
    for largest_id, pad_token, opcode in (
        *((5, 0, b"M"), (65_535, 0, b"M"), (65_536, 0, b"J"), (2**31 - 1, 0, b"J")),
        *((5, 65_535, b"M"), (5, 65_536, b"J"), (0, 2**31 - 1, b"J")),
    ):
        data = encoded([[0, largest_id]], pad_token)
        assert data[6:7] == opcode
        ids = view(data, 1, 2)
        assert ids.dtype == ("<u2" if opcode == b"M" else "<i4")
        assert ids.tolist() == [[0, largest_id]], "the pad itself is not written"


@pytest.mark.parametrize(
    ("samples", "pad_token"), [([[1, -1]], 0), ([[1]], -1), ([[2**31]], 0), ([[1]], 2**31)]
)
def test_ids_outside_0_to_2_31_are_never_written(samples: list[list[int]], pad_token: int) -> None:
    with pytest.raises(AssertionError, match="ids"):
        encoded(samples, pad_token)


def test_the_bytes_do_not_depend_on_the_ids_dtype_or_layout() -> None:
    expected = encoded([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])
    for dtype in ("u1", "u2", "u4", "i4", "i8", "u8", ">u2"):
        samples = np.arange(12, dtype=dtype).reshape(3, 4)
        for each in (samples, np.asfortranarray(samples), np.repeat(samples, 2, axis=0)[::2]):
            assert b"".join(map(bytes, encode_shard(each, pad_token=0))) == expected


# What comes back

SAMPLES = arrays(
    np.int64,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from(EDGES) | st.integers(0, 65_535) | st.integers(0, 2**31 - 1),
).map(np.ndarray.tolist)


@given(samples=SAMPLES, pad_token=st.sampled_from(EDGES))
@example(samples=[EDGES], pad_token=0)
@example(samples=[[77, 101, 46]] * 600, pad_token=65_536)
@example(samples=[[row, 46] for row in range(25_000)], pad_token=65_536)  # in two pieces
def test_plain_pickle_and_the_view_give_the_samples(
    samples: list[list[int]], pad_token: int
) -> None:
    data = encoded(samples, pad_token)
    loaded = pickle.loads(data)
    assert loaded == samples
    assert {type(loaded), *map(type, loaded)} == {list}
    assert {type(token) for row in loaded for token in row} == {int}
    assert view(data, len(samples), len(samples[0])).tolist() == samples


def test_the_view_is_read_only_and_of_the_same_memory() -> None:
    for largest in (65_535, 2**31 - 1):
        data = np.frombuffer(encoded([[1, largest], [3, 4]]), np.uint8)
        ids = view_shard(data, num_samples=2, seq_length=2, name="x")
        assert np.shares_memory(ids, data)
        assert not ids.flags.writeable


# Damage, without hashes: structure is checked, ids are what they are


@pytest.mark.parametrize(
    ("samples", "width"),
    [
        ([[1, 2, 40], [93, 65_535, 6]], 2),
        ([[1, 2, 40], [93, 65_536, 2**31 - 1]], 4),
        ([[7]], 2),
    ],
)
def test_a_flipped_bit_is_refused_or_changes_one_id(samples: list[list[int]], width: int) -> None:
    data = encoded(samples)
    num_samples, seq_length = len(samples), len(samples[0])
    stride = 3 + seq_length * (1 + width)
    cells = {
        4 + row * stride + 2 + column * (1 + width) + 1 + byte: (row, column)
        for row in range(num_samples)
        for column in range(seq_length)
        for byte in range(width)
    }
    num_read = 0
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            ids = view(bytes(damaged), num_samples, seq_length)
        except DatasetError as error:
            assert "dump-7.pkl" in str(error)  # noqa: PT017  (both outcomes are legal)
            continue
        num_read += 1
        assert ids.tolist() == pickle.loads(damaged)
        assert [tuple(at) for at in np.argwhere(ids != np.array(samples))] == [cells[bit // 8]]
    num_ids = num_samples * seq_length
    assert num_read == num_ids * (8 * width - (width == 4)), "all bits of ids but their sign"


@pytest.mark.parametrize("largest", [65_535, 65_536])
def test_a_shape_that_is_not_the_meta_s_is_refused(largest: int) -> None:
    data = encoded([[1, 2, 3], [4, 5, largest]])
    width = 3 if largest == 65_535 else 5
    for num_samples, seq_length in (
        *((1, 3), (3, 3), (2, 2), (2, 4), (3, 2), (1, 6), (6, 1)),
        *((2**62, 3), (2, 2**62), (2**62, 2**62)),
    ):
        assert refusal(data, num_samples, seq_length) == (
            f"dump-7.pkl has {len(data)} bytes, but {num_samples} samples of {seq_length} tokens "
            f"take {6 + num_samples * (3 + seq_length * width)}: it is truncated, or belongs to "
            "another meta; make the dataset again"
        )


def test_a_shape_that_takes_as_many_bytes_is_refused_all_the_same() -> None:
    data = encoded([[1, 2, 3], [4, 5, 6]])
    assert len(data) == len(encoded([[1, 2, 3, 4, 5, 6, 7]]))
    assert "sample 0 breaks the format" in refusal(data, 1, 7)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (299, 1)])
def test_a_negative_id_is_refused_where_it_stands(place: tuple[int, int]) -> None:
    for value in (-1, -2, -(2**31)):
        data = bytearray(encoded(np.full((300, 2), 70_000)))
        at = 4 + place[0] * 13 + 2 + place[1] * 5
        data[at + 1 : at + 5] = value.to_bytes(4, "little", signed=True)
        assert pickle.loads(data)[place[0]][place[1]] == value, "plain pickle takes it"
        assert refusal(bytes(data), 300, 2).startswith(
            "dump-7.pkl is damaged or was not written as a list of lists of token ids: "
            f"sample {place[0]} breaks the format; nothing of it was executed"
        )


def test_the_message_names_the_sample_that_breaks_the_format() -> None:
    """Samples are checked 128 at a time."""
    for row in (0, 1, 127, 128, 255, 256, 599):
        data = bytearray(encoded([[1, 2]] * 600))
        data[4 + row * 9 + 5] = ord("R")
        assert f": sample {row} breaks the format; " in refusal(bytes(data), 600, 2)


def test_both_widths_in_one_shard_are_refused() -> None:
    narrow, wide = encoded([[1, 2]] * 5), encoded([[70_000, 2]] * 3)
    rows = {b"M": narrow[4:13], b"J": wide[4:17]}
    data = b"\x80\x02](" + rows[b"M"] * 9 + rows[b"J"] * 9 + b"e."
    assert pickle.loads(data) == [[1, 2]] * 9 + [[70_000, 2]] * 9
    refusal(data, 18, 2)
    refusal(b"\x80\x02](" + rows[b"J"] * 9 + rows[b"M"] * 13 + b"e.", 18, 2)
    assert (13 * 9) % 13 == 0, "13 narrow rows have the length of 9 wide ones"


def test_what_pickle_dump_writes_is_never_taken_for_fixed_width() -> None:
    for samples in ([[1]], [[300, 2]], [[70_000] * 3] * 3, [list(range(1001))] * 3):
        for protocol in range(6):
            data = np.frombuffer(pickle.dumps(samples, protocol=protocol), np.uint8)
            assert not is_fixed_width(data)
    assert is_fixed_width(np.frombuffer(encoded([[1]]), np.uint8))


@settings(max_examples=200)
@given(data=st.data())
def test_no_mutation_of_the_bytes_changes_anything_but_ids(data: st.DataObject) -> None:
    samples = data.draw(SAMPLES)
    mutant = bytearray(encoded(samples))
    for _ in range(data.draw(st.integers(1, 3))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(
            st.sampled_from(b"].(eMJK\x80\x02aqrhR0cti\x94\x95") | st.integers(0, 255)
        )
    try:
        ids = view(bytes(mutant), len(samples), len(samples[0]))
    except DatasetError:
        return
    assert ids.tolist() == pickle.loads(mutant)
    assert ids.shape == (len(samples), len(samples[0]))
    assert ids.min() >= 0
