"""Token chunks on disk: what was written is read, and anything else is missing or refused."""

import dataclasses
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import ChunkMismatchError
from codedata.format.documents import ChunkDocuments, Form
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.store import clients
from codedata.store.chunks import LocalChunks, ObjectChunks, TokenChunk
from codedata.store.object_store import ObjectStore
from codedata_tests.scenario import DOCUMENT_LENGTHS, chunk_documents

FINGERPRINT = ChunkFingerprint(
    corpus_sha256="c" * 64, tokenizer_sha256="d" * 64, chars=CharRange(100, 200)
)
IDS = np.array([5, 0, 65535, 7], np.uint16)
OF_DOCUMENTS = dataclasses.replace(FINGERPRINT, recipe_sha256="e" * 64)
DOCUMENTS = chunk_documents(DOCUMENT_LENGTHS[0], {1: Form.PSM})


def find_chunk(folder: Path, fingerprint: ChunkFingerprint) -> TokenChunk | None:
    found = LocalChunks(folder).find([fingerprint])
    return found[0] if found else None


def write_chunk(folder: Path, fingerprint: ChunkFingerprint, ids: IdArray) -> TokenChunk:
    return LocalChunks(folder).put(fingerprint, ids, engine="pretokens", compared_bytes=7)


def path_of(chunk: TokenChunk) -> Path:
    return Path(chunk.where)


def chunk_path(folder: Path, chars: CharRange) -> Path:
    return folder / f"{chars.key}.arrow"


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_ids_come_back_as_they_were_written(
    dtype: type[np.integer[Any]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    largest = int(np.iinfo(dtype).max)
    ids = np.array(data.draw(st.lists(st.integers(0, largest), max_size=300)), dtype)
    folder = tmp_path_factory.getbasetemp() / "chunks" / "made when it is needed"
    written = write_chunk(folder, FINGERPRINT, ids)
    found = find_chunk(folder, FINGERPRINT)
    assert found is not None
    assert found == written
    assert found.num_tokens == len(ids)
    assert found.chars == CharRange(100, 200)
    assert found.where == str(chunk_path(folder, FINGERPRINT.chars))
    read = found.read_ids()
    assert read.dtype == dtype
    assert read.tolist() == ids.tolist()
    assert os.listdir(folder) == ["0000000100-0000000200.arrow"], "no temporary file is left"


def test_the_ids_are_a_read_only_view_of_the_file_that_outlives_it(tmp_path: Path) -> None:
    chunk = write_chunk(tmp_path, FINGERPRINT, IDS)
    ids = chunk.read_ids()
    path_of(chunk).unlink()
    assert ids.tolist() == IDS.tolist()
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


@pytest.mark.parametrize(
    "change",
    [
        {"corpus_sha256": "e" * 64},
        {"tokenizer_sha256": "e" * 64},
        {"code_version": FINGERPRINT.code_version + 1},
        {"chars": CharRange(100, 201)},
        {"chars": CharRange(99, 200)},
    ],
    ids=str,
)
def test_a_chunk_of_another_fingerprint_is_missing(change: dict[str, Any], tmp_path: Path) -> None:
    other = dataclasses.replace(FINGERPRINT, **change)
    written = write_chunk(tmp_path, FINGERPRINT, IDS)
    assert find_chunk(tmp_path, other) is None
    target = chunk_path(tmp_path, other.chars)
    target.write_bytes(path_of(written).read_bytes())
    assert find_chunk(tmp_path, other) is None, "not even under the other one's name"
    write_chunk(tmp_path, other, IDS[:2])
    assert find_chunk(tmp_path, other) == write_chunk(tmp_path, other, IDS[:2])


def test_every_truncation_of_a_chunk_is_missing(tmp_path: Path) -> None:
    chunk = write_chunk(tmp_path, FINGERPRINT, IDS)
    data = path_of(chunk).read_bytes()
    for num_bytes in range(len(data)):
        path_of(chunk).write_bytes(data[:num_bytes])
        assert find_chunk(tmp_path, FINGERPRINT) is None, num_bytes
        with pytest.raises(ChunkMismatchError):
            chunk.read_ids()


def arrow_file(path: Path, metadata: dict[str, str], columns: dict[str, Any]) -> None:
    table = pa.table(columns).replace_schema_metadata(metadata)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def described(metadata: dict[str, str], **columns: list[int]) -> Callable[[Path], object]:
    return lambda path: arrow_file(path, metadata, columns)


FIELDS = '"ids_sha256": "", "engine": "whole", "compared_bytes": 0, "seconds": 0'
GARBAGE: dict[str, Callable[[Path], object]] = {
    "no Arrow file": lambda path: path.write_bytes(b"ARROW1\0\0garbage ARROW1"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "no metadata": described({}, input_ids=[1]),
    "no columns": described({"codedata.chunk": "{}"}),
} | {
    f"the description {text}": described({"codedata.chunk": text}, input_ids=[1])
    for text in (
        "[1]",
        f'{{"fingerprint": {{"chars": [1, 2], "colour": 5}}, {FIELDS}}}',
        f'{{"fingerprint": 5, {FIELDS}}}',
    )
}


@pytest.mark.parametrize("write", GARBAGE.values(), ids=GARBAGE)
def test_a_file_that_is_no_chunk_is_missing_and_refused(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    chunk = write_chunk(tmp_path, FINGERPRINT, IDS)
    path_of(chunk).unlink()
    write(path_of(chunk))
    assert find_chunk(tmp_path, FINGERPRINT) is None
    with pytest.raises(ChunkMismatchError) as refusal:
        chunk.read_ids()
    assert str(path_of(chunk)) in str(refusal.value)


def test_no_flipped_bit_gives_other_ids(tmp_path: Path) -> None:
    """A chunk is missing, or refused when it is read, or its ids are the right ones.

    Every seventh bit: seven and eight share no divisor, so each byte and each place in it has its
    turn.
    """
    chunk = write_chunk(tmp_path, FINGERPRINT, IDS)
    data = path_of(chunk).read_bytes()
    outcomes = {"missing": 0, "refused": 0, "right": 0}
    for bit in range(0, len(data) * 8, 7):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path_of(chunk).write_bytes(damaged)
        found = find_chunk(tmp_path, FINGERPRINT)
        for opened in [chunk] if found is None else [chunk, found]:
            try:
                ids = opened.read_ids()
            except ChunkMismatchError:
                outcomes["missing" if found is None else "refused"] += 1
            else:
                outcomes["right"] += 1
                assert ids.dtype == IDS.dtype, bit
                assert ids.tolist() == IDS.tolist(), bit
    assert min(outcomes.values()) > 30, outcomes


def damage_ids(chunk: TokenChunk) -> None:
    data = path_of(chunk).read_bytes()
    assert data.count(IDS.tobytes()) == 1
    path_of(chunk).write_bytes(data.replace(IDS.tobytes(), IDS[::-1].tobytes()))


def replace_ids(chunk: TokenChunk) -> None:
    write_chunk(path_of(chunk).parent, FINGERPRINT, IDS[:2])


@pytest.mark.parametrize("change", [damage_ids, replace_ids])
def test_a_chunk_that_changed_after_it_was_found_is_refused(
    change: Callable[[TokenChunk], None], tmp_path: Path
) -> None:
    write_chunk(tmp_path, FINGERPRINT, IDS)
    chunk = find_chunk(tmp_path, FINGERPRINT)
    assert chunk is not None
    change(chunk)
    with pytest.raises(ChunkMismatchError) as refusal:
        chunk.read_ids()
    assert f"chunk {path_of(chunk)} is damaged or was replaced; remove it and" in str(refusal.value)


def test_a_write_that_fails_leaves_the_older_chunk_and_no_temporary_file(tmp_path: Path) -> None:
    """The name of the file is taken by a folder, so that the last step, the rename, fails."""
    path = chunk_path(tmp_path, FINGERPRINT.chars)
    (path / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_chunk(tmp_path, FINGERPRINT, IDS)
    assert os.listdir(tmp_path) == [path.name]


# Of documents


def told(documents: ChunkDocuments) -> tuple[object, ...]:
    ids, pieces = documents.ids, documents.pieces
    return ids.dtype, ids.tolist(), pieces.dtype, pieces.tolist(), documents.table.to_pydict()


@pytest.fixture(params=["folder", "objects"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> LocalChunks | ObjectChunks:
    if request.param == "folder":
        return LocalChunks(tmp_path / "chunks")
    return request.getfixturevalue("objects")


@pytest.mark.parametrize("num_samples", [5, 0, None])
def test_documents_are_found_and_come_back_as_they_were_stored(
    num_samples: int | None, any_store: LocalChunks | ObjectChunks
) -> None:
    counts: dict[str, Any] = {} if num_samples is None else {"num_samples": num_samples}
    documents = DOCUMENTS if num_samples != 0 else chunk_documents([0, 0], {})
    made = any_store.put_documents(
        OF_DOCUMENTS, documents, engine="whole", compared_bytes=7, **counts
    )
    assert any_store.find([OF_DOCUMENTS]) == [made]
    for chunk in (made, *any_store.find([OF_DOCUMENTS])):
        assert (chunk.num_tokens, chunk.num_samples) == (len(documents.ids), num_samples)
        assert told(chunk.read_documents()) == told(documents)
        assert chunk.read_ids().tolist() == documents.ids.tolist()
    for other in (FINGERPRINT, dataclasses.replace(OF_DOCUMENTS, recipe_sha256="f" * 64)):
        assert any_store.find([other]) == []


def test_documents_are_views_of_the_file_that_outlive_it(tmp_path: Path) -> None:
    chunk = LocalChunks(tmp_path).put_documents(
        OF_DOCUMENTS, DOCUMENTS, engine="whole", compared_bytes=7
    )
    documents = chunk.read_documents()
    path_of(chunk).unlink()
    assert told(documents) == told(DOCUMENTS)
    assert not documents.ids.flags.writeable
    with pytest.raises(ChunkMismatchError, match="cannot be read"):
        chunk.read_documents()


@pytest.mark.parametrize("every", [pytest.param(23, marks=pytest.mark.campaign), 307])
def test_no_flipped_bit_and_no_prefix_gives_other_documents(every: int, tmp_path: Path) -> None:
    """A chunk is missing, or refused when it is read, or all that it says is right."""
    store = LocalChunks(tmp_path)
    chunk = store.put_documents(
        OF_DOCUMENTS, DOCUMENTS, engine="whole", compared_bytes=7, num_samples=5
    )
    data, expected = path_of(chunk).read_bytes(), told(DOCUMENTS)
    outcomes = {"missing": 0, "refused": 0, "right": 0}
    for bit in range(0, len(data) * 8, every):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path_of(chunk).write_bytes(damaged)
        found = store.find([OF_DOCUMENTS])
        for opened in (chunk, *found):
            try:
                documents = opened.read_documents()
            except ChunkMismatchError:
                outcomes["refused" if found else "missing"] += 1
            else:
                outcomes["right"] += 1
                assert told(documents) == expected, bit
                assert opened.num_samples == 5, bit
    assert min(outcomes.values()) > 15, outcomes
    for num_bytes in range(0, len(data), every):
        path_of(chunk).write_bytes(data[:num_bytes])
        assert store.find([OF_DOCUMENTS]) == [], num_bytes
        with pytest.raises(ChunkMismatchError):
            chunk.read_documents()


# In an object store


@pytest.fixture
def objects() -> ObjectChunks:
    """Chunks of a split in a store of this process, empty."""
    return ObjectChunks(ObjectStore(f"memory://chunks-{secrets.token_hex(8)}"))


def of_file(file: int, corpus: str = "c") -> ChunkFingerprint:
    return dataclasses.replace(
        FINGERPRINT, corpus_sha256=corpus * 64, chars=CharRange(100, 200, file)
    )


def test_in_an_object_store_a_listing_tells_the_chunks_of_each_fingerprint(
    objects: ObjectChunks,
) -> None:
    files = [0, 7, 99, 100, 10_234, 100_003]
    made = [
        objects.put(of_file(file), IDS[: n + 1], engine="my.own/engine", compared_bytes=n)
        for n, file in enumerate(files)
    ]
    objects.put(of_file(7, "e"), IDS, engine="whole", compared_bytes=0)
    wanted = [of_file(file) for file in (100_003, 100, 8, 0, 10_234, 99, 7)]
    by_file = {each.chars.file: each for each in made}
    found = objects.find(wanted)
    assert found == [by_file[each.chars.file] for each in wanted if each.chars.file != 8]
    assert [chunk.bounds for chunk in found if chunk.chars.file == 100] == [(0, 65535)]
    assert [chunk.read_ids().tolist() for chunk in objects.find([of_file(7, "e")])] == [[*IDS]]
    assert objects.find([dataclasses.replace(FINGERPRINT, code_version=0)]) == []


class Listed(MemoryFileSystem):
    """Counts the names that lists are made of."""

    num_names = 0

    def find(self, path: str, *limits: Any, **more: Any) -> Any:
        found: Any = super().find(path, *limits, **more)
        Listed.num_names += len(found)
        return found


class ListedByPrefix(Listed):
    """Gives the names that begin with a prefix, as gs and az do."""

    def find(self, path: str, *limits: Any, prefix: str = "", **more: Any) -> Any:
        found: Any = MemoryFileSystem.find(self, path, *limits, **more)
        begin = f"{self._strip_protocol(path)}/{prefix}"
        found = {name: each for name, each in found.items() if name.startswith(begin)}
        Listed.num_names += len(found)
        return found


@pytest.mark.parametrize(("system", "num_gone_through"), [(Listed, 500), (ListedByPrefix, 301)])
def test_a_look_for_the_chunks_of_many_files_goes_through_each_name_once(
    objects: ObjectChunks,
    system: type[Listed],
    num_gone_through: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "_CLIENTS", {})
    monkeypatch.setitem(_registry, "memory", system)
    for file in range(500):
        objects.put(of_file(file), IDS, engine="whole", compared_bytes=0)
    monkeypatch.setattr(Listed, "num_names", 0)
    wanted = [of_file(file) for file in [*range(100), 150, *range(200, 300, 2), *range(450, 475)]]
    assert [chunk.fingerprint for chunk in objects.find(wanted)] == wanted
    assert Listed.num_names <= num_gone_through


def test_a_chunk_that_is_made_twice_is_one_object_of_the_same_bytes(objects: ObjectChunks) -> None:
    first, second = (
        objects.put(FINGERPRINT, IDS, engine="whole", compared_bytes=7, seconds=seconds)
        for seconds in (1.5, 2.5)
    )
    [name] = objects.store.list()
    data = objects.store.read(name)
    objects.put(FINGERPRINT, IDS, engine="whole", compared_bytes=7, seconds=3)
    assert objects.store.list() == [name]
    assert objects.store.read(name) == data
    assert first.read_ids().tolist() == second.read_ids().tolist() == [*IDS]
    assert first.where in objects.store.where(name)


def test_the_name_of_a_chunk_tells_its_counts_and_without_a_recipe_is_as_ever(
    objects: ObjectChunks,
) -> None:
    objects.put(FINGERPRINT, IDS, engine="a.b", compared_bytes=7)
    objects.put_documents(
        OF_DOCUMENTS, DOCUMENTS, engine="a.b", compared_bytes=7, num_samples=5, seconds=1.5
    )
    names = [name.split(".") for name in objects.store.list()]
    [of_documents, reference] = sorted(names, key=lambda parts: len(parts[2]), reverse=True)
    begin = ["00000/0000000100-0000000200", "a0901c987b6cab01b44f656a24f4f0d5"]
    hashed = "256f44db04c6b6097ba9549d7b7b8315f46dc4664effd021b9076e0d38cde12e"
    assert reference == [*begin, "4", hashed, "a", "b", "7", "0-65535", "arrow"]
    assert of_documents[2] == "34-5"
    wrong = dataclasses.replace(objects.find([OF_DOCUMENTS])[0], num_samples=6)
    [name] = [each for each in objects.store.list() if ".34-5." in each]
    objects.store.put(name.replace(".34-5.", ".34-6."), objects.store.read(name))
    with pytest.raises(ChunkMismatchError, match="is damaged or was replaced"):
        wrong.read_documents()


def test_of_several_chunks_of_one_fingerprint_the_one_that_was_written_last_is_found(
    objects: ObjectChunks,
) -> None:
    for ids in (IDS, IDS[::-1], IDS[:2], IDS, IDS[1:]):
        made = objects.put(FINGERPRINT, ids, engine="whole", compared_bytes=7)
        assert objects.find([FINGERPRINT]) == [made]
    assert len(objects.store.list()) == 4


def test_an_object_that_is_not_what_its_name_says_is_refused(objects: ObjectChunks) -> None:
    chunk = objects.put(FINGERPRINT, IDS, engine="whole", compared_bytes=7)
    [name] = objects.store.list()
    data = objects.store.read(name)
    other = objects.put(of_file(0, "e"), IDS, engine="whole", compared_bytes=7)
    [other_name] = set(objects.store.list()) - {name}
    for wrong in (
        data.replace(IDS.tobytes(), IDS[::-1].tobytes()),
        objects.store.read(other_name),
        data[:-20],
        b"",
    ):
        objects.store.put(name, wrong)
        with pytest.raises(ChunkMismatchError) as refusal:
            chunk.read_ids()
        assert objects.store.where(name) in str(refusal.value)
    objects.store.remove([name])
    with pytest.raises(ChunkMismatchError, match="is gone; run again"):
        chunk.read_ids()
    assert other.read_ids().tolist() == [*IDS]
