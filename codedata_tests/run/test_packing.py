"""Packing into an object store: what is published was read back, and wrong bytes never are."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import CheckFailedError, ChunkMismatchError, StoreError
from codedata.format.meta import META_NAME
from codedata.format.ranges import CharRange
from codedata.parallel import ChunkThreads
from codedata.progress import SILENT
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run import compared
from codedata.run import tokenize as tokenizing
from codedata.run.assemble import StagedVersion, assemble_version
from codedata.run.plan import ChunkTask, Plan, open_plan
from codedata.run.tokenize import stored_chunks, tokenize
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import ObjectChunks, TokenChunk
from codedata.store.dataset_folder import open_snapshot
from codedata.store.object_store import ObjectStore
from codedata.store.pruning import remove_folder, unused_folders
from codedata.store.versions import DatasetLog, Version
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
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


@pytest.mark.parametrize(
    "recipe", [None, DocumentRecipe(eos=scenario.EOT)], ids=["text", "documents"]
)
def test_the_shards_of_several_files_are_numbered_file_by_file(
    root: ObjectStore, tokenizer_folder: Path, tmp_path: Path, recipe: DocumentRecipe | None
) -> None:
    """Chunks of a file begin where those of the one before it do."""
    texts = {
        file: ParquetText(
            scenario.write_parquet(tmp_path / f"{file}.parquet", scenario.c_documents(9, file))
        )
        for file in range(3)
    }
    files = find_tokenizer(str(tokenizer_folder))
    plan = open_plan(texts, SETTINGS, files, engine="whole", recipe=recipe)
    stored = ObjectChunks(root.below("chunks/set"))
    tokenizer = store_tokenizer(root, plan.tokenizer)
    tasks = plan.tasks(lambda _: stored, tokenizer=tokenizer)
    assert len(tasks) > 2 * len(texts)
    with ChunkThreads(2) as threads:
        made = {c.chars: c for c, _ in tokenize(plan, tasks, threads, SILENT, root=None, name="")}
        chunks = [made[task.chars] for task in tasks]
        assemble_version(
            plan, chunks, log_of(root), ORIGIN, threads, SILENT, tokenizer=tokenizer
        ).publish()
    dataset = open_snapshot(log_of(root).snapshot, verify=True)
    ranges = [entry.chars for entry in dataset.entries if entry.chars]
    assert list(dict.fromkeys(ranges)) == [c.chars for c in chunks if c.chars in {*ranges}]


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


def test_shards_that_are_there_and_right_are_read_and_the_others_written_again(
    root: ObjectStore, plan: Plan, chunks: list[TokenChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = pack(root, plan, chunks).publish()
    folder = root.below(f"datasets/set/{version.folder}")
    shards = {name: folder.read(name) for name in version.names}
    folder.put("dump-2.pkl", shards["dump-3.pkl"])
    folder.remove(["dump-5.pkl"])
    put: list[str] = []
    real = ObjectStore.put
    monkeypatch.setattr(
        ObjectStore, "put", lambda self, name, data: [put.append(name), real(self, name, data)]
    )
    assert pack(root, plan, chunks).publish() == version
    written = [name for name in put if name.endswith(".pkl")]
    assert {name.rpartition("/")[2] for name in written} >= {"dump-2.pkl", "dump-5.pkl"}
    assert len(written) < 6 < len(shards), "those of two chunks"
    assert {name: folder.read(name) for name in version.names} == shards


def test_a_chunk_that_is_made_right_after_a_wrong_one_gives_a_version_of_its_own(
    root: ObjectStore, plan: Plan, chunks: list[TokenChunk]
) -> None:
    """The wrong one has the fingerprint of the right one, and as many ids."""

    def objects_of(version: Version) -> dict[str, bytes]:
        return root.below(f"datasets/set/{version.folder}").read_many(version.names)

    right, chunk = pack(root, plan, chunks).publish(), chunks[3]
    shards = objects_of(right)
    root.remove(root.list("datasets/"))
    ids = chunk.read_ids()[::-1].copy()
    wrong = chunk.store.put(chunk.fingerprint, ids, engine=chunk.engine, compared_bytes=7)
    with_wrong = pack(root, plan, [*chunks[:3], wrong, *chunks[4:]]).publish()
    other_shards = objects_of(with_wrong)
    healed = pack(root, plan, chunks).publish()
    assert (healed.number, healed.folder, healed.digest) == (2, right.folder, right.digest)
    assert objects_of(healed) == shards
    assert len({*shards.items()} ^ {*other_shards.items()}) > 2, "shards and meta are others"
    log_of(root).store.remove([healed.name_of("dump-3.pkl")])  # so that it would be written again
    pack(root, plan, [*chunks[:3], wrong, *chunks[4:]])
    assert objects_of(with_wrong) == other_shards
    assert objects_of(healed) == {
        name: data for name, data in shards.items() if name != "dump-3.pkl"
    }


def old_and_new(root: ObjectStore, plan: Plan, chunks: list[TokenChunk]) -> list[Version]:
    """Two versions, of which the first is not the dataset any more."""
    other = replace(plan, settings=replace(plan.settings, max_dump_size=30))
    return [pack(root, each, chunks).publish() for each in (plan, other)]


def test_a_prune_leaves_an_old_version_from_when_a_run_begins_to_read_it_back(
    root: ObjectStore, plan: Plan, chunks: list[TokenChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = old_and_new(root, plan, chunks)
    log, before = log_of(root), time.time()
    objects = log.store.read_many(map(old.name_of, old.names))
    [unused] = unused_folders(log, before)
    pruned: list[bool] = []
    real = ObjectStore.map

    def prune_then_map(store: ObjectStore, name: str) -> Any:
        if not pruned:
            pruned.append(remove_folder(log, unused, before))
        return real(store, name)

    monkeypatch.setattr(ObjectStore, "map", prune_then_map)
    published = pack(root, plan, chunks).publish()
    assert {*pruned} == {False}
    assert (published.number, published.digest) == (3, old.digest)
    assert log.store.read_many(map(old.name_of, old.names)) == objects


def test_what_a_prune_began_to_take_before_a_run_read_it_back_is_not_published(
    root: ObjectStore, plan: Plan, chunks: list[TokenChunk]
) -> None:
    """It looked at the folder before the run wrote there, and has taken no more than the meta."""
    old, new = old_and_new(root, plan, chunks)
    staged = pack(root, plan, chunks)
    log = log_of(root)
    log.store.remove([old.name_of(META_NAME)])
    with pytest.raises(StoreError, match=rf"{META_NAME} is gone: .*nothing was published"):
        staged.publish()
    assert log.head() == new


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
