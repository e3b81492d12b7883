"""Small published datasets, one with documents, and everything that can happen to their files.

Whatever is changed of the dataset, `verify` finds; without it a reader refuses, or reads samples of
the shape that the meta says. Only a card that is gone, beside its facts, is not missed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, permutations
from pathlib import Path

import pytest

from codedata.cli import main
from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.meta import META_NAME, documents_name, shard_name, spans_name
from codedata.format.ranges import CharRange
from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests import scenario

pytestmark = pytest.mark.campaign

Files = dict[str, bytes]
Change = dict[str, bytes | None]
"""New contents of files by name; None removes one."""


CARD_REMOVED: Change = {CARD_NAME: None}
DOCUMENTS_OF_ANY = documents_name(0)
SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[70_000, 9, 9, 9]], [[9, 8, 7, 6], [5, 4, 3, 534]]]


def changed_files(files: Files) -> Iterator[tuple[str, Change]]:
    """One file changed, for itself; `test_dataset_folder.py` flips bits and cuts off."""
    for name, data in files.items():
        yield "removed", {name: None}
        for tail in (b"\0", b" ", b"\n", b".", b"e.", data):
            yield "lengthened", {name: data + tail}
        size = max(7, len(data) // 12) if DOCUMENTS_OF_ANY in files else 7
        for start in range(0, len(data), size):
            stop = start + size
            yield "bytes lost", {name: data[:start] + data[stop:]}
            yield "bytes doubled", {name: data[:stop] + data[start:]}
            yield "zeros", {name: data[:start] + bytes(len(data[start:stop])) + data[stop:]}


def changed_folder(files: Files) -> Iterator[tuple[str, Change]]:
    """Files of the dataset copied, swapped, renamed and added."""
    own = {name: data for name, data in files.items() if name.startswith("dump-")}
    for one, other in permutations(own, 2):
        yield "copied over another", {one: own[other]}
        yield "swapped", {one: own[other], other: own[one]}
        yield "moved over another", {one: own[other], other: None}
    for name, data in own.items():
        for new in (f"{name}.bak", name.upper(), f".{name}", "dump-00.pkl", "dump-99.pkl"):
            yield "renamed", {name: None, new: data}
        for number in (len(files) // 2, 99, 10**9):
            for new in (shard_name(number), spans_name(number), documents_name(number)):
                yield "added", {new: data}


def changed_meta(files: Files) -> Iterator[tuple[str, Change]]:
    """Whole entries, and numbers of them, that are other ones."""
    meta = json.loads(files[META_NAME])

    def as_written(changed: object) -> Change:
        return {META_NAME: (json.dumps(changed, indent=2) + "\n").encode()}

    for one, other in permutations(meta, 2):
        yield "entries swapped", as_written({**meta, one: meta[other], other: meta[one]})
    for name, entry in meta.items():
        yield "an entry lost", as_written({key: meta[key] for key in meta if key != name})
        yield "an entry too many", as_written({**meta, shard_name(len(meta)): entry})
        for key, value in entry.items():
            fields = {field: entry[field] for field in entry if field != key}
            yield "a field lost", as_written({**meta, name: fields})
            for wrong in (value + 1, -value, str(value)) if isinstance(value, int) else ():
                yield "a number changed", as_written({**meta, name: {**fields, key: wrong}})
    last = list(meta)[-1]
    kept = {key: meta[key] for key in meta if key != last}
    beside: Change = {name: None for name in files if name.startswith(f"{last[:-4]}.")}
    yield "the last shard lost with its entry", {**as_written(kept), **beside}
    yield "entries in another order", as_written(dict(reversed(meta.items())))


def read(folder: Path, *, verify: bool) -> list[list[int]]:
    """Every sample, through the loader."""
    dataset = PickledTrainerDataset(folder, quiet=True, verify=verify)
    return [sample["input_ids"].tolist() for sample in dataset]


def apply(folder: Path, change: Change) -> None:
    for name, data in change.items():
        if data is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(data)


def write_reference(folder: Path) -> Path:
    return scenario.write_dataset(folder, SHARDS, chars=CharRange(0, 75).cut(25))


def write_documents(folder: Path) -> Path:
    return scenario.write_document_dataset(folder, [[3, 6], [4]], seq_length=4)


@pytest.mark.parametrize("write", [write_reference, write_documents])
def test_every_change_of_a_dataset_is_refused_where_it_is_verified_and_crashes_no_loader(
    write: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_facts(write(tmp_path / "d"))
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    samples, num_read, kinds = read(folder, verify=True), 0, Counter[str]()
    for what, change in chain(changed_files(files), changed_folder(files), changed_meta(files)):
        if all(files.get(name) == data for name, data in change.items()):
            continue
        kinds[what] += 1
        apply(folder, change)
        if change == CARD_REMOVED:
            assert read(folder, verify=True) == samples
        else:
            assert main(["verify", str(folder)]) == 1, what
            captured = capsys.readouterr()
            assert captured.out == ""
            [line] = captured.err.splitlines()
            assert line.startswith("codedata: error: ")
            assert str(folder) in line
        try:
            found = read(folder, verify=False)
        except DatasetError as error:
            assert str(folder) in str(error), what  # noqa: PT017  (both may happen)
        else:
            num_read += 1
            assert {len(sample) for sample in found} == {4}, what
            assert all(0 <= token < 2**31 for sample in found for token in sample)
        apply(folder, {name: files.get(name) for name in change})
    assert num_read > 10
    assert len(kinds) >= 16
    assert kinds["bytes lost"] > 80
    assert read(folder, verify=True) == samples
