"""A corpus of hostile shards: each is live under plain pickle, and none does anything here.

Every opcode of pickle that imports, calls or reaches into an object, in every place of a shard, and
bombs beside them. A control process loads the live ones with `pickle.Unpickler`; another opens all
with `open_dataset` while an audit hook notes what the interpreter does.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from codedata_tests.format.test_foreign_shards import opcodes_of

TRAP = """
import copyreg
import os

FIRED = os.environ["CODEDATA_TRAP"]


def fire(*args, **kwargs):
    with open(FIRED, "a") as file:
        file.write("fired")
    return 5


class Made:
    def __new__(cls, *args, **kwargs):
        fire()
        return object.__new__(cls)


class Waiting:
    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        fire()


class Watching:
    def __init__(self, *args):
        pass

    def __setattr__(self, name, value):
        fire()

    def __setitem__(self, key, value):
        fire()

    def __hash__(self):
        fire()
        return 5

    append = extend = add = fire


copyreg.add_extension("codedata_trap", "fire", 0xF1)
copyreg.add_extension("codedata_trap", "Made", 0xF1F1)
copyreg.add_extension("codedata_trap", "Waiting", 0x70F1F1F1)
"""

ARRIVAL = "import codedata_trap\ncodedata_trap.fire()\n"
"""A module that fires when it is imported."""

CONTROL = """
import io, json, os, pickle, sys
from pathlib import Path

import codedata_trap

class Plain(pickle.Unpickler):
    def persistent_load(self, pid):
        return codedata_trap.fire()

def buffers():
    while True:
        codedata_trap.fire()
        yield bytearray(5)

fired = Path(os.environ["CODEDATA_TRAP"])
live = []
for folder in sorted(Path(sys.argv[1]).iterdir()):
    sys.modules.pop("codedata_arrival", None)
    fired.unlink(missing_ok=True)
    file = io.BytesIO((folder / "dump-0.pkl").read_bytes())
    try:
        while True:
            Plain(file, buffers=buffers()).load()
    except Exception:
        pass
    if fired.exists():
        live.append(folder.name)
print(json.dumps(live))
"""
"""Loads every file, and whatever follows in it, as plain pickle does."""

GUARDED = """
import json, os, sys, time, tracemalloc
from pathlib import Path

import codedata_trap
from codedata.errors import DatasetError
from codedata.store.dataset_folder import open_dataset

folders = sorted(Path(sys.argv[1]).iterdir())
assert len(open_dataset(Path(sys.argv[2])).shards[0]) == 2
fired, notes, report = Path(os.environ["CODEDATA_TRAP"]), [], {}
listening = False
sys.addaudithook(lambda event, args: notes.append(event) if listening else None)
for verify in (False, True):
    for folder in folders:
        notes.clear()
        tracemalloc.start()
        start = time.process_time()
        listening = True
        try:
            _ = [*open_dataset(folder, verify=verify).shards]
            said = None
        except DatasetError as error:
            said = str(error)
        listening = False
        seconds = time.process_time() - start
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        report.setdefault(folder.name, []).append(
            {"said": said, "seconds": seconds, "peak_bytes": peak_bytes, "events": sorted({*notes}),
             "fired": fired.exists(), "imported": "codedata_arrival" in sys.modules}
        )
print(json.dumps(report))
"""

HARMLESS = {
    "builtins.id",
    "open",
    "os.scandir",
    "fcntl.fcntl",
    "mmap.__new__",
    "_thread.start_new_thread",
    "_thread.start_joinable_thread",
}
"""What opening a folder needs; not among them: import, exec, compile, pickle.find_class, os.*."""

SMALL_FILE_BYTES = 1_000_000
"""Memory that a file may take beside ten times its size: a thread, the meta, the message."""


def text(string: str) -> bytes:
    """The opcode BINUNICODE."""
    return b"X" + struct.pack("<I", len(string.encode())) + string.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


FIRE, MADE = named("codedata_trap", "fire"), named("codedata_trap", "Made")
WATCHING = named("codedata_trap", "Watching") + b")R"
BY_STACK = text("codedata_trap") + text("fire") + b"\x93"
ARRIVING = "__import__('codedata_arrival')"
NESTED = b"\x80\x02" + FIRE + b")R."

LIVE = {
    "GLOBAL, a module that is imported": named("codedata_arrival", "FIRED"),
    "STACK_GLOBAL, a module that is imported": text("codedata_arrival") + text("x") + b"\x93",
    "REDUCE": FIRE + b")R",
    "REDUCE of STACK_GLOBAL": BY_STACK + b")R",
    "REDUCE out of the memo": FIRE + b"r\xff\x00\x00\x000j\xff\x00\x00\x00)R",
    "REDUCE of what MEMOIZE kept": FIRE + b"p999\n0g999\n)R",
    "INST": b"(icodedata_trap\nfire\n",
    "OBJ": b"(" + FIRE + b"K\x05o",
    "NEWOBJ": MADE + b")\x81",
    "NEWOBJ_EX": MADE + b")}\x92",
    "BUILD": named("codedata_trap", "Waiting") + b")RK\x05b",
    "BUILD of slots": WATCHING + b"N}" + text("x") + b"K\x05s\x86b",
    "EXT1": b"\x82\xf1)R",
    "EXT2": b"\x83\xf1\xf1)\x81",
    "EXT4": b"\x84\xf1\xf1\xf1\x70)RK\x05b",
    "PERSID": b"Psomething\n",
    "BINPERSID": b"K\x05Q",
    "NEXT_BUFFER": b"\x97",
    "READONLY_BUFFER": b"\x97\x98",
    "APPEND": WATCHING + b"K\x05a",
    "SETITEM": WATCHING + b"K\x05K\x06s",
    "ADDITEMS": WATCHING + b"(K\x05\x90",
    "DICT of a key that is hashed": b"(" + WATCHING + b"K\x05d",
    "SETITEM of a key that is hashed": b"}" + WATCHING + b"K\x05s",
    "FROZENSET of what is hashed": b"(" + WATCHING + b"\x91",
    "os.system": named("os", "system") + text('echo fired > "$CODEDATA_TRAP"') + b"\x85R",
    "eval": named("builtins", "eval") + text(ARRIVING) + b"\x85R",
    "getattr of a module": named("builtins", "getattr")
    + (named("builtins", "__import__") + text("codedata_trap") + b"\x85R" + text("fire") + b"\x86R")
    + b")R",
    "map": named("builtins", "list") + named("builtins", "map") + FIRE + b"]K\x05a\x86R\x85R",
    "a pickle in the pickle": named("pickle", "loads")
    + b"C"
    + bytes([len(NESTED)])
    + NESTED
    + b"\x85R",
}
"""Opcodes that leave one object on the stack, and do something on the way there."""


def frames(opcodes: Sequence[bytes], protocol: int) -> bytes:
    """A pickle of some opcodes, framed as the protocol has it."""
    data = bytes([0x80, protocol])
    if protocol < 4:
        return data + b"".join(opcodes)
    frame = b""
    for place, opcode in enumerate(opcodes):
        frame += opcode
        if len(frame) >= 65_536 or place == len(opcodes) - 1:
            data += b"\x95" + struct.pack("<Q", len(frame)) + frame
            frame = b""
    return data


ID = b"M\x2c\x01"


@lru_cache
def good_shard(num_samples: int, seq_length: int, protocol: int) -> list[bytes]:
    """The opcodes of a shard of 300s."""
    samples = [[300] * seq_length for _ in range(num_samples)]
    opcodes, starts = opcodes_of(samples, protocol)
    return [opcodes[start:stop] for start, stop in pairwise([*starts, len(opcodes)])]


def shard(
    num_samples: int, seq_length: int, protocol: int, *, ids: dict[tuple[int, int], bytes]
) -> list[bytes]:
    """The same with other ids at some places (sample, column)."""
    opcodes = list(good_shard(num_samples, seq_length, protocol))
    places = [place for place, opcode in enumerate(opcodes) if opcode == ID]
    for (sample, column), payload in ids.items():
        opcodes[places[sample * seq_length + column]] = payload
    return opcodes


@dataclass(frozen=True, kw_only=True)
class File:
    """A shard and the shape that its meta claims."""

    data: bytes
    num_samples: int = 2
    seq_length: int = 3


def placed(payload: bytes, protocol: int) -> dict[str, File]:
    """The payload in every kind of place of a shard."""
    good = shard(2, 3, protocol, ids={})

    def file(opcodes: Sequence[bytes], num_samples: int = 2, seq_length: int = 3) -> File:
        return File(data=frames(opcodes, protocol), num_samples=num_samples, seq_length=seq_length)

    places = {
        "before the list": file([payload, b"0", *good]),
        "in place of all": file([payload, b"0" * 30, b"."]),
        "as an id": file(shard(2, 3, protocol, ids={(1, 1): payload})),
        "as the first id": file(shard(2, 3, protocol, ids={(0, 0): payload})),
        "beside an id": file(shard(2, 3, protocol, ids={(0, 2): b"K\x05" + payload + b"0"})),
        "as a row": file([*good[:10], payload, b"e."]),
        "before the end": file([*good[:-1], payload, b"0", b"."]),
        "after the end": File(data=frames(good, protocol) + frames([payload, b"."], protocol)),
        "as the only id": file(shard(1, 1, protocol, ids={(0, 0): payload}), 1, 1),
        "in a second batch": file(shard(1, 1005, protocol, ids={(0, 1003): payload}), 1, 1005),
        "in a late row": file(shard(1005, 2, protocol, ids={(1003, 1): payload}), 1005, 2),
    }
    if protocol >= 4:
        opcodes = shard(30, 1000, protocol, ids={(29, 990): payload})
        places["in the second frame"] = file(opcodes, 30, 1000)
    return places


LAUGHS = b"]" + b"".join(b"p%d\n0](" % i + b"g%d\n" % i * 10 + b"e" for i in range(30)) + b"0"
BOMBS = {
    "a memo number of 2**31": b"]r\xff\xff\xff\x7f0",
    "a memo number of 300,000 digits": b"]p" + b"9" * 300_000 + b"\n0",
    "a billion laughs": LAUGHS,
    "lists doubled": b"]" + b"2" * 100_000 + b"0" * 100_001,
    "lists nested": b"]" * 100_000 + b"a" * 99_999 + b"0",
    "a number of 300,000 digits": b"I" + b"9" * 300_000 + b"\n0",
    "a long of 2 GiB": b"\x8b\xff\xff\xff\x7f",
    "bytes of 2**62": b"\x8e" + struct.pack("<Q", 2**62),
    "a frame of 2**63": b"\x95" + struct.pack("<Q", 2**63),
    "ids without end": b"J\xff\xff\xff\x7f" * 200_000,
}
"""What makes a reader nest, count, allocate or search; plain pickle is not asked."""


def corpus(
    payloads: dict[str, bytes], places: Sequence[str], protocols: Sequence[int]
) -> dict[str, File]:
    """Files by what they are."""
    return {
        f"{kind}, {place}, protocol {protocol}": file
        for protocol in protocols
        for kind, payload in payloads.items()
        for place, file in placed(payload, protocol).items()
        if not places or place in places
    }


def write(folder: Path, file: File) -> Path:
    """A dataset folder whose hash is right, so that the content alone is what is wrong."""
    folder.mkdir(parents=True)
    (folder / "dump-0.pkl").write_bytes(file.data)
    entry = {
        "num_samples": file.num_samples,
        "num_tokens": file.num_samples * file.seq_length,
        "sha256": hashlib.sha256(file.data).hexdigest(),
    }
    (folder / "dump-meta_data.json").write_text(json.dumps({"dump-0.pkl": entry}))
    return folder


SOME, ALL = (["as an id", "in place of all"], [4]), ([], [2, 4])


@pytest.mark.parametrize(
    ("where", "num_files"), [(SOME, 68), pytest.param(ALL, 700, marks=pytest.mark.campaign)]
)
def test_what_plain_pickle_executes_is_refused_in_a_second_and_ten_times_its_size(
    where: tuple[list[str], list[int]], num_files: int, tmp_path: Path
) -> None:
    (tmp_path / "codedata_trap.py").write_text(TRAP, encoding="utf-8")
    (tmp_path / "codedata_arrival.py").write_text(ARRIVAL, encoding="utf-8")
    places, protocols = where
    live = corpus(LIVE, places, protocols)
    around = ["as an id"] if places else ["before the list", "as an id", "after the end"]
    files = live | corpus(BOMBS, around, protocols)
    assert len({file.data for file in files.values()}) == len(files) >= num_files
    numbered = {f"{index:04d}": name for index, name in enumerate(files)}
    for number, name in numbered.items():
        write(tmp_path / "files" / number, files[name])
        if name in live:
            write(tmp_path / "live" / number, files[name])
    good = write(tmp_path / "good", File(data=frames(shard(2, 3, 4, ids={}), 4)))

    def reported(script: str, *arguments: Path) -> Any:
        (tmp_path / "fired").unlink(missing_ok=True)
        setup = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
        done = subprocess.run(
            [sys.executable, "-c", setup + script, *map(str, arguments)],
            env={**os.environ, "CODEDATA_TRAP": str(tmp_path / "fired")},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    fired = {numbered[number] for number in reported(CONTROL, tmp_path / "live")}
    assert {*live} - fired == set(), "plain pickle executes every one"
    opened = reported(GUARDED, tmp_path / "files", good)
    assert len(opened) == len(files)
    for number, outcomes in opened.items():
        name = numbered[number]
        for outcome in outcomes:
            assert not outcome["fired"], name
            assert not outcome["imported"], name
            assert set(outcome["events"]) <= HARMLESS, name
            assert "open" in outcome["events"], "the hook listened"
            assert outcome["seconds"] < 5, name
            assert outcome["peak_bytes"] < 10 * len(files[name].data) + SMALL_FILE_BYTES, name
            assert outcome["said"] is not None, name
        said = outcomes[0]["said"]
        assert "dump-0.pkl" in said, name
        assert "nothing of it was executed" in said or "bytes, which" in said
        assert "make the dataset again" in said or "write it again" in said
