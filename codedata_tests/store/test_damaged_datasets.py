"""A small published dataset, and everything that can happen to its files.

Whatever is changed of the dataset, `verify` finds; without it a reader refuses, or reads samples of
the shape that the meta says. Only a card that is gone, beside its facts, is not missed.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from codedata.cli import main
from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.meta import META_NAME, shard_index, shard_name
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.recipe.settings import Settings
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize_data import tokenize_data

pytestmark = pytest.mark.campaign

Files = dict[str, bytes]
Change = dict[str, bytes | None]
"""New contents of files by name; None removes one."""


CARD_REMOVED: Change = {CARD_NAME: None}


def is_the_dataset_s(name: str) -> bool:
    return name == META_NAME or shard_index(name) is not None


def changed_files(files: Files) -> Iterator[tuple[str, Change]]:
    """One file changed, for itself; `test_dataset_folder.py` flips bits and cuts off."""
    for name, data in files.items():
        for tail in (b"\0", b" ", b"\n", b".", b"e.", data):
            yield "lengthened", {name: data + tail}
        for start in range(0, len(data), 7):
            stop = start + 7
            yield "bytes lost", {name: data[:start] + data[stop:]}
            yield "bytes doubled", {name: data[:stop] + data[start:]}
            yield "zeros", {name: data[:start] + bytes(len(data[start:stop])) + data[stop:]}
        yield "removed", {name: None}


def changed_folder(files: Files) -> Iterator[tuple[str, Change]]:
    """Files of the dataset copied, swapped, renamed and added."""
    own = {name: data for name, data in files.items() if is_the_dataset_s(name)}
    for one, other in permutations(own, 2):
        yield "copied over another", {one: own[other]}
        yield "swapped", {one: own[other], other: own[one]}
        yield "moved over another", {one: own[other], other: None}
    num_shards = len(own) - 1
    for name, data in own.items():
        for new in (f"{name}.bak", name.upper(), f".{name}", "dump-00.pkl", "dump-99.pkl"):
            yield "renamed", {name: None, new: data}
        for number in (num_shards, num_shards + 1, 99, 10**9):
            yield "added", {shard_name(number): data}


def changed_meta(files: Files) -> Iterator[tuple[str, Change]]:
    """Whole entries, and numbers of them, that are other ones."""
    meta = json.loads(files[META_NAME])

    def as_written(changed: object) -> Change:
        return {META_NAME: (json.dumps(changed, indent=2) + "\n").encode()}

    for one, other in permutations(meta, 2):
        yield "entries swapped", as_written({**meta, one: meta[other], other: meta[one]})
        yield "an entry doubled", as_written({**meta, one: meta[other]})
    for name in meta:
        yield "an entry lost", as_written({key: meta[key] for key in meta if key != name})
        yield "an entry too many", as_written({**meta, shard_name(len(meta)): meta[name]})
        for key, value in meta[name].items():
            fields = {field: meta[name][field] for field in meta[name] if field != key}
            yield "a field lost", as_written({**meta, name: fields})
            if isinstance(value, int):
                for wrong in (value + 1, value * 2, value - 1, -value, str(value), float(value)):
                    yield "a number changed", as_written({**meta, name: {**fields, key: wrong}})
    last = list(meta)[-1]
    shorter = as_written({key: meta[key] for key in meta if key != last})
    yield "the last shard lost with its entry", {**shorter, last: None}
    yield "entries in another order", as_written(dict(reversed(meta.items())))
    yield "written without spaces", {META_NAME: json.dumps(meta).encode()}


def changes(files: Files) -> Iterator[tuple[str, Change]]:
    """All that make a difference, by what they are."""
    for what, change in [
        *changed_files(files), *changed_folder(files), *changed_meta(files),
    ]:  # fmt: skip
        if any(files.get(name) != data for name, data in change.items()):
            yield what, change


class Published:
    """The dataset, its files as they were written, and its samples."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self.samples = self.read(verify=True)

    def read(self, *, verify: bool) -> list[list[int]]:
        """Every sample, through the loader."""
        dataset = PickledTrainerDataset(self.folder, quiet=True, verify=verify)
        return [sample["input_ids"].tolist() for sample in dataset]

    def apply(self, change: Change) -> None:
        for name, data in change.items():
            if data is None:
                (self.folder / name).unlink()
            else:
                (self.folder / name).write_bytes(data)


@pytest.fixture(scope="module")
def published(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    folder = tmp_path_factory.mktemp("published") / "dataset"
    settings = Settings(
        tokenizer_base=str(tokenizer_folder),
        seq_length=4,
        min_sample_length=0,
        max_dump_size=3,
        pad_token=534,
        chars_to_tokenize=75,
        chunk_size=25,
    )
    tokenize_data(corpus, folder, settings, num_workers=1)
    return Published(folder)


def test_every_change_of_a_dataset_is_refused_where_it_is_verified_and_crashes_no_loader(
    published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    num_read, kinds = 0, Counter[str]()
    for what, change in changes(published.files):
        kinds[what] += 1
        published.apply(change)
        if change == CARD_REMOVED:
            assert published.read(verify=True) == published.samples
        else:
            with pytest.raises(DatasetError, match=r"dump-\w+\.(pkl|json)|README|codedata\.yaml"):
                open_dataset(published.folder, verify=True)
            assert main(["verify", str(published.folder)]) == 1, what
            captured = capsys.readouterr()
            assert captured.out == ""
            [line] = captured.err.splitlines()
            assert line.startswith("codedata: error: ")
            assert str(published.folder) in line
        try:
            samples = published.read(verify=False)
        except DatasetError as error:
            assert str(published.folder) in str(error), what  # noqa: PT017  (both may happen)
        else:
            num_read += 1
            assert {len(sample) for sample in samples} == {4}, what
            assert all(0 <= token < 2**31 for sample in samples for token in sample)
        published.apply({name: published.files.get(name) for name in change})
    assert num_read > 10
    assert len(kinds) >= 17
    assert kinds["bytes lost"] > 300
    assert sum(map(is_the_dataset_s, published.files)) >= 4, "three shards and the meta"
    assert published.read(verify=True) == published.samples
    assert main(["verify", str(published.folder)]) == 0
