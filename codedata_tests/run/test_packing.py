"""Packing into an object store: what is published was read back, and wrong bytes never are."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import CheckFailedError, ChunkMismatchError
from codedata.format.meta import META_NAME
from codedata.format.ranges import CharRange
from codedata.parallel import ChunkThreads
from codedata.progress import SILENT
from codedata.recipe.settings import Settings
from codedata.run import compared
from codedata.run import tokenize as tokenizing
from codedata.run.assemble import StagedVersion, assemble_version
from codedata.run.plan import ChunkTask, Plan, open_plan
from codedata.run.tokenize import stored_chunks, tokenize
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import ObjectChunks, TokenChunk
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests.format.test_facts import ORIGIN

SETTINGS = Settings(
    pad_token=0, seq_length=64, min_sample_length=8, max_dump_size=20, chars_to_tokenize=60_000,
    chunk_size=1_500,
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return ObjectStore(f"memory://packing-{secrets.token_hex(8)}")


@pytest.fixture
def plan(corpus: Path, tokenizer_folder: Path) -> Plan:
    files = find_tokenizer(str(tokenizer_folder))
    return open_plan({0: ParquetText(corpus)}, SETTINGS, files, engine="whole")


@pytest.fixture
def tasks(root: ObjectStore, plan: Plan) -> list[ChunkTask]:
    stored = ObjectChunks(root.below("chunks/set"))
    return plan.tasks(lambda _: stored, tokenizer=store_tokenizer(root, plan.tokenizer))


@pytest.fixture
def chunks(plan: Plan, tasks: list[ChunkTask]) -> list[TokenChunk]:
    with ChunkThreads(2) as threads:
        made = tokenize(plan, tasks, threads, SILENT, root=None, name="set")
        return sorted((chunk for chunk, _ in made), key=lambda chunk: chunk.chars)


def log_of(root: ObjectStore) -> DatasetLog:
    return DatasetLog(root.below("datasets/set"))


def pack(root: ObjectStore, plan: Plan, chunks: list[TokenChunk]) -> StagedVersion:
    with ChunkThreads(2) as threads:
        return assemble_version(plan, chunks, log_of(root), ORIGIN, threads, SILENT)


def altered(name: str, alter: Callable[[bytes], bytes]) -> Callable[..., None]:
    """`ObjectStore.put` of a store that keeps other bytes under one name."""
    real = ObjectStore.put

    def put(self: ObjectStore, at: str, data: Any) -> None:
        real(self, at, data)
        if at.endswith(name):
            real(self, at, alter(self.read(at)))

    return put


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:], "does not have the sha256"),
        (lambda data: data[:-40], "does not have the sha256"),
        (lambda _: b"", "is empty"),
    ],
    ids=["a flipped bit", "a lost end", "nothing"],
)
def test_a_shard_that_the_store_does_not_hold_as_it_was_put_is_never_published(
    alter: Callable[[bytes], bytes],
    said: str,
    root: ObjectStore,
    plan: Plan,
    chunks: list[TokenChunk],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put", altered("/dump-1.pkl", alter))
        staged = pack(root, plan, chunks)
        with pytest.raises(CheckFailedError, match=rf"^integrity: .*/dump-1\.pkl {said}"):
            staged.publish()
    assert log_of(root).head() is None
    assert not [name for name in root.list("datasets/") if name.endswith(META_NAME)]
    version = pack(root, plan, chunks).publish()
    assert version.number == 1
    assert version.num_samples == sum(SETTINGS.count_samples(each.num_tokens) for each in chunks)


def test_of_many_chunks_that_nobody_here_made_some_from_all_over_are_compared(
    tasks: list[ChunkTask], chunks: list[TokenChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[CharRange] = []
    real = ParquetText.read_utf8

    def watched(self: ParquetText, chars: CharRange) -> Any:
        read.append(chars)
        return real(self, chars)

    monkeypatch.setattr(ParquetText, "read_utf8", watched)
    monkeypatch.setattr(tokenizing, "_MOST_COMPARED", 8)

    def found(*, anew: bool) -> list[str]:
        read.clear()
        if anew:
            compared._known.clear()  # pyright: ignore[reportPrivateUsage]
            compared._taken.clear()  # pyright: ignore[reportPrivateUsage]
        with ChunkThreads(2) as threads:
            return [each.ids_sha256 for each in stored_chunks(tasks, threads)]

    made = [chunk.ids_sha256 for chunk in chunks]
    assert found(anew=False) == made
    assert not read, "this process has made them"
    assert found(anew=True) == made
    assert sorted(chars.start // 7_500 for chars in read) == [*range(8)], "one of each eighth"
    assert found(anew=False) == made
    assert not read, "once a run"
    chunk = chunks[0]
    wrong = chunk.read_ids()[::-1].copy()
    made_with = {"engine": chunk.engine, "compared_bytes": chunk.compared_bytes}
    assert isinstance(chunk.store, ObjectChunks)
    objects = chunk.store.store
    objects.remove([name for name in objects.list() if chunk.ids_sha256 in name])
    chunk.store.put(chunk.fingerprint, wrong, **made_with)
    with pytest.raises(ChunkMismatchError, match="does not hold the ids"):
        found(anew=True)
