"""Documents from a corpus to a checked dataset: each one once, and whatever the chunks the same."""

import re
import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import codedata
from codedata.errors import CheckFailedError, ChunkMismatchError, CorpusError, SettingsError
from codedata.format.documents import ChunkDocuments
from codedata.format.fingerprint import ChunkFingerprint, version_digest
from codedata.format.ranges import CharRange
from codedata.parallel import ChunkThreads
from codedata.progress import SILENT
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run import compared, packing
from codedata.run.assemble import StagedVersion, assemble_version
from codedata.run.plan import Plan, open_plan
from codedata.run.tokenize import tokenize
from codedata.sources.columns import Columns
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks, ObjectChunks
from codedata.store.dataset_folder import Dataset
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog, Version
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.format.test_facts import ORIGIN
from codedata_tests.run.test_packing import altered
from codedata_tests.scenario import BOS, EOT

FRAMED = {"documents": {"bos": BOS, "eos": EOT}}
FIM = {"rate": 0.5, "tokens": ["<fim>", "<rest>", "<gap>"]}

DOCUMENTS = [
    *scenario.c_documents(7, seed=7),
    *("", None, "a", f"b {EOT} c", "", "🙂"),
    *scenario.c_documents(4, seed=8),
    *(None, "", ""),
]
"""Some are empty, the last one too; one has a control token."""

SWITCHES: dict[str, Any] = {"seq_length": 64, "min_sample_length": 8, "max_dump_size": 9}

KEPT = [n for n, text in enumerate(DOCUMENTS) if text and EOT not in text]
ROWS = [n for n, text in enumerate(DOCUMENTS) if text is not None]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.add_tokens(FIM["tokens"])
    return scenario.save_tokenizer(tokenizer, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "c.parquet"
    paths = [f"src/{number}.c" for number in range(len(DOCUMENTS))]
    table = pa.table({"content": DOCUMENTS, "path": paths, "license": ["MIT"] * len(paths)})
    pq.write_table(table, path, row_group_size=4)
    return path


@pytest.fixture(scope="module")
def expected(tokenizer: Path) -> dict[int, list[int]]:
    """The ids of each document by the tokenizers library, framed, by its row."""
    library = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    before, after = library.token_to_id(BOS), library.token_to_id(EOT)
    assert before is not None
    assert after is not None
    return {
        row: [before, *library.encode(DOCUMENTS[row], add_special_tokens=False).ids, after]
        for row in KEPT
    }


def build(
    corpus: Path, folder: Path, tokenizer: Path, recipe: Mapping[str, Any] = FRAMED, **switches: Any
) -> Dataset:
    pad = {"pad_token": 0, "tokenizer_base": str(tokenizer)}
    return codedata.build(corpus, folder, recipe=recipe, **pad, **SWITCHES | switches)


def packed(dataset: Dataset) -> dict[int, list[int]]:
    """The tokens of each document that samples have, by its row, each once and in their order."""
    found: dict[int, list[tuple[int, list[int]]]] = {}
    for index, (ids, spans) in enumerate(zip(dataset.shards, dataset.spans, strict=True)):
        table = dataset.documents(index)
        rows = dict(zip(*(table.column(n).to_pylist() for n in ("document", "row")), strict=True))
        for sample, start, stop, document, first, _ in spans.tolist():
            tokens = ids[sample, start:stop].tolist()
            found.setdefault(rows[document], []).append((first, tokens))
    joined: dict[int, list[int]] = {}
    for row, parts in found.items():
        joined[row] = []
        for first, tokens in sorted(parts):
            assert first == len(joined[row])
            joined[row] += tokens
    return joined


def named(dataset: Dataset) -> list[int]:
    """The rows of all documents that the tables name."""
    tables = [dataset.documents(index) for index in range(dataset.num_shards)]
    return sorted({row for table in tables for row in table.column("row").to_pylist()})


@settings(max_examples=2)
@given(
    chunk_size=st.integers(2_000, 9_000),
    num_workers=st.integers(1, 3),
    order=st.sampled_from(["corpus", "shuffled"]),
)
def test_a_document_has_its_own_ids_once_whatever_chunks_workers_and_order_are(
    chunk_size: int,
    num_workers: int,
    order: str,
    corpus: Path,
    tokenizer: Path,
    expected: dict[int, list[int]],
) -> None:
    with TemporaryDirectory() as folder:
        recipe = {**FRAMED, "order": order}
        switches = {"chunk_size": chunk_size, "num_workers": num_workers}
        made = build(corpus, Path(folder) / "set", tokenizer, recipe, **switches)
        assert packed(made) == expected
        facts = made.facts
        assert facts is not None
        counts = facts.documents
        assert counts is not None
        assert (counts.documents, counts.empty) == (len(ROWS), 4)
        assert counts.with_control_tokens == 1
        assert counts.tokens == counts.tokens_packed == sum(map(len, expected.values()))
        assert counts.padding == made.num_samples * 64 - counts.tokens
        assert counts.cut_though_short == 0
        assert facts.recipe == {
            "documents": {"bos": BOS, "eos": EOT, "control_tokens": "drop"},
            "order": order,
            "order_seed": 0,
            "packing": "best_fit",
        }


def test_adjoining_windows_share_no_document_and_leave_none_out(
    corpus: Path, tokenizer: Path, expected: dict[int, list[int]], tmp_path: Path
) -> None:
    border = 12_001  # within a document
    windows: dict[str, dict[str, Any]] = {
        "left": {"chars_to_tokenize": border},
        "right": {"starting_character": border, "chars_to_tokenize": 10**9},
    }
    left, right = (
        build(corpus, tmp_path / name, tokenizer, chunk_size=7_000, **switches)
        for name, switches in windows.items()
    )
    of_left, of_right = packed(left), packed(right)
    assert not of_left.keys() & of_right.keys()
    assert of_left | of_right == expected
    assert len(of_left) > 5 < len(of_right)
    assert named(left) + named(right) == ROWS[:-2], "a chunk of empty ones has no shard"
    counts = [made.facts.documents for made in (left, right) if made.facts]
    assert sum(each.documents for each in counts if each) == len(ROWS)


def test_concat_leaves_out_a_short_rest_of_each_chunk_and_reports_it(
    corpus: Path, tokenizer: Path, expected: dict[int, list[int]], tmp_path: Path
) -> None:
    recipe = {**FRAMED, "packing": "concat"}
    made = build(
        corpus, tmp_path / "set", tokenizer, recipe, chunk_size=9_000, min_sample_length=50
    )
    assert made.facts is not None
    counts = made.facts.documents
    assert counts is not None
    found = packed(made)
    assert 0 < counts.tokens_dropped == counts.tokens - sum(map(len, found.values()))
    for row, ids in found.items():
        assert expected[row][: len(ids)] == ids
    assert all(entry.last_sample_tokens is not None for entry in made.entries)


def test_rows_beside_a_shard_say_where_documents_are_from(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    made = build(corpus, tmp_path / "set", tokenizer)
    rows = made.documents(0).to_pylist()
    assert rows[0]["path"] == "src/0.c"
    assert rows[0]["licences"] == ["MIT"]
    assert rows[0]["repository"] is None
    assert [row["characters"] for row in rows] == [len(DOCUMENTS[row["row"]] or "") for row in rows]
    assert {row["decision"] for row in rows} == {"kept", "empty", "control tokens"}


def test_what_the_facts_say_to_do_again_makes_the_same_dataset(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(corpus, tmp_path / "set", tokenizer, {**FRAMED, "order": "shuffled"})
    assert made.facts is not None
    *variables, python, dash_c, code = shlex.split(made.facts.command)
    assert (python, dash_c) == ("python", "-c")
    assert variables == [f"CODEDATA_CORPUS={corpus.name}", f"CODEDATA_TOKENIZER={tokenizer.name}"]
    monkeypatch.setenv("CODEDATA_CORPUS", str(corpus))
    monkeypatch.setenv("CODEDATA_TOKENIZER", str(tokenizer))
    monkeypatch.chdir(tmp_path)
    before = scenario.dataset_bytes(tmp_path / "set")
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    exec(code, {})  # noqa: S102 - our own
    assert scenario.dataset_bytes(tmp_path / "again" / "set") == before


def test_permuted_pieces_too_are_the_same_whatever_the_chunks_and_are_undone(
    corpus: Path, tokenizer: Path, expected: dict[int, list[int]], tmp_path: Path
) -> None:
    recipe = {**FRAMED, "fim": FIM}
    made = [
        build(corpus, tmp_path / str(size), tokenizer, recipe, chunk_size=size)
        for size in (3_000, 9_000)
    ]
    facts = [each.facts for each in made]
    assert packed(made[0]) == packed(made[1]) != expected
    counts = [each.documents for each in facts if each is not None and each.documents is not None]
    assert counts[0].psm == counts[1].psm > 20
    assert counts[0].spm == counts[1].spm > 20
    assert {int(form) for spans in made[0].spans for form in spans[:, 5]} == {0, 1, 2}
    assert facts[0] is not None
    assert facts[0].recipe is not None
    assert facts[0].recipe["fim"] == {
        "rate": "0.5", "spm_rate": "0.5", "level": "context", "seed": 0,
        "tokens": {"prefix": "<fim>", "suffix": "<rest>", "middle": "<gap>"},
    }  # fmt: skip


def store_another_token(patch: pytest.MonkeyPatch) -> None:
    real = LocalChunks.put_documents

    def put(self: LocalChunks, fingerprint: Any, documents: Any, **record: Any) -> Any:
        return real(self, fingerprint, with_another_token(documents), **record)

    patch.setattr(LocalChunks, "put_documents", put)


def lose_a_piece(patch: pytest.MonkeyPatch) -> None:
    real = packing.pack_documents

    def pack(documents: Any, **switches: Any) -> Any:
        kept = np.arange(len(documents.pieces)) != 1
        ids = np.delete(documents.ids, slice(*np.cumsum(documents.pieces[:2, 1])))
        less = replace(documents, ids=ids, pieces=documents.pieces[kept])
        return real(less, **switches)

    patch.setattr(packing, "pack_documents", pack)


def pack_another_token(patch: pytest.MonkeyPatch) -> None:
    real = packing.pack_documents

    def pack(documents: Any, **switches: Any) -> Any:
        found = real(documents, **switches)
        found.samples[1, 2] += 1
        return found

    patch.setattr(packing, "pack_documents", pack)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lose_a_piece, "(sample_counts|document_tokens): "),
        (pack_another_token, "spans: .* has other tokens than the chunk's piece"),
        (store_another_token, "fim_undone: documents have another text: 0, "),
    ],
    ids=["a lost piece", "another token", "another text"],
)
def test_what_fails_a_check_of_documents_is_not_published(
    fault: Callable[[pytest.MonkeyPatch], None],
    said: str,
    corpus: Path,
    tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(monkeypatch)
    with pytest.raises(CheckFailedError, match=f"{said}.*; nothing was published"):
        build(corpus, tmp_path / "set", tokenizer)
    assert not (tmp_path / "set").exists()


def test_a_window_without_a_document_that_is_kept_is_refused(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    inside: dict[str, Any] = {"starting_character": 5, "chars_to_tokenize": 100}
    with pytest.raises(CorpusError, match="no document begins that is kept"):
        build(corpus, tmp_path / "set", tokenizer, **inside)
    with pytest.raises(SettingsError, match="eos"):
        build(corpus, tmp_path / "set", tokenizer, {"documents": {}})


def plan_of(corpus: Path, tokenizer: Path, recipe: Mapping[str, Any], **switches: Any) -> Plan:
    return open_plan(
        {0: ParquetText(corpus)},
        Settings(pad_token=0, chunk_size=6_000, **SWITCHES | switches),
        find_tokenizer(str(tokenizer)),
        recipe=DocumentRecipe.of(recipe),
    )


def made_by(plan: Plan, chunks: LocalChunks, *, stop: int | None = None) -> list[bool]:
    """Of each chunk of a plan, whether it was there; a run that is killed makes `stop` of them."""
    compared._known.clear()  # pyright: ignore[reportPrivateUsage]
    compared._taken.clear()  # pyright: ignore[reportPrivateUsage]
    tasks, there = plan.tasks(lambda _: chunks), list[bool]()
    with ChunkThreads(1) as threads:
        for _, is_reused in tokenize(plan, tasks, threads, SILENT, root=None, name="set"):
            there.append(is_reused)
            if len(there) == stop:
                break
    return there


def test_chunks_of_a_killed_run_are_reused_and_other_recipes_make_their_own(
    corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    chunks = LocalChunks(tmp_path)
    plan = plan_of(corpus, tokenizer, FRAMED)
    num_chunks = len(plan.fingerprints)
    assert made_by(plan, chunks, stop=2) == [False, False]
    assert sum(made_by(plan, chunks)) >= 2
    for alike in (
        plan,
        plan_of(corpus, tokenizer, {**FRAMED, "order": "shuffled"}),
        plan_of(corpus, tokenizer, FRAMED, max_dump_size=3, min_sample_length=1),
    ):
        assert made_by(alike, chunks) == [True] * num_chunks
    for other in (
        plan_of(corpus, tokenizer, {"documents": {"eos": EOT}}),
        plan_of(corpus, tokenizer, FRAMED, seq_length=32),
        plan_of(corpus, tokenizer, {**FRAMED, "packing": "concat"}),
    ):
        assert not {*other.fingerprints} & {*plan.fingerprints}
    concat = plan_of(corpus, tokenizer, {**FRAMED, "packing": "concat"}, seq_length=32)
    assert concat.fingerprints == other.fingerprints, "whose chunks hang on no seq_length"


def with_another_token(documents: ChunkDocuments) -> ChunkDocuments:
    ids = documents.ids.copy()
    ids[1::7] += 1  # one of every document at the least
    return replace(documents, ids=ids)


def without_the_last(documents: ChunkDocuments) -> ChunkDocuments:
    table = documents.table[:-1]
    pieces = documents.pieces[documents.pieces[:, 0] < table.num_rows]
    return replace(documents, table=table, pieces=pieces, ids=documents.ids[: pieces[:, 1].sum()])


def of_other_paths(documents: ChunkDocuments) -> ChunkDocuments:
    paths = pa.array(["elsewhere.c"] * documents.table.num_rows)
    return replace(documents, table=documents.table.set_column(6, "path", paths))


@pytest.mark.parametrize("alter", [with_another_token, without_the_last, of_other_paths])
def test_a_stored_chunk_that_is_not_of_its_text_is_refused(
    alter: Callable[[ChunkDocuments], ChunkDocuments], corpus: Path, tokenizer: Path, tmp_path: Path
) -> None:
    chunks, plan = LocalChunks(tmp_path), plan_of(corpus, tokenizer, FRAMED)
    made_by(plan, chunks)
    first, *_ = chunks.find(plan.fingerprints)
    chunks.put_documents(
        first.fingerprint,
        alter(first.read_documents()),
        engine=first.engine,
        compared_bytes=first.compared_bytes,
        num_samples=first.num_samples,
    )
    with pytest.raises(ChunkMismatchError, match="does not hold the ids"):
        made_by(plan, chunks)


def test_what_was_compared_of_one_recipe_stands_for_no_other(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    chunks = LocalChunks(tmp_path / "chunks")
    one, other = (
        plan_of(corpus, tokenizer, {"documents": FRAMED["documents"] | {"control_tokens": each}})
        for each in ("drop", "text")
    )
    made_by(one, chunks)
    compared.note(chunks.find(one.fingerprints))
    first, *_ = chunks.find(one.fingerprints)
    same = chunks.put_documents(
        other.fingerprints[0],
        first.read_documents(),
        engine=first.engine,
        compared_bytes=first.compared_bytes,
        num_samples=first.num_samples,
    )
    assert same.ids_sha256 == first.ids_sha256
    for plan, chunk, is_compared in ((one, first, True), (other, same, False)):
        compared._known.clear()  # pyright: ignore[reportPrivateUsage]
        compared.recall(plan.tasks(lambda _: chunks))
        assert compared.is_compared(chunk) is is_compared


def test_what_says_where_documents_are_from_makes_chunks_of_their_own(
    corpus: Path, tokenizer: Path
) -> None:
    def fingerprints(recipe: DocumentRecipe | None, *keep: str) -> list[ChunkFingerprint]:
        text = ParquetText(corpus, columns=Columns(keep=keep))
        settings = Settings(pad_token=0, **SWITCHES)
        files = find_tokenizer(str(tokenizer))
        return open_plan({0: text}, settings, files, recipe=recipe).fingerprints

    recipe = DocumentRecipe.of(FRAMED)
    every = [fingerprints(recipe, *keep)[0] for keep in ((), ("path",), ("path", "license"))]
    assert len(set(every)) == 3
    assert fingerprints(None) == fingerprints(None, "path", "license")


@dataclass(frozen=True)
class Objects:
    """Chunks of a plan and versions of its dataset in an object store."""

    root: ObjectStore
    plan: Plan

    @property
    def log(self) -> DatasetLog:
        return DatasetLog(self.root.below("datasets/set"))

    def packed(self) -> StagedVersion:
        stored = ObjectChunks(self.root.below("chunks/set"))
        tokenizer = store_tokenizer(self.root, self.plan.tokenizer)
        tasks = self.plan.tasks(lambda _: stored, tokenizer=tokenizer)
        with ChunkThreads(2) as threads:
            made = tokenize(self.plan, tasks, threads, SILENT, root=None, name="set")
            chunks = sorted((chunk for chunk, _ in made), key=lambda chunk: chunk.chars)
            return assemble_version(
                self.plan, chunks, self.log, ORIGIN, threads, SILENT, tokenizer=tokenizer
            )

    def files(self, version: Version) -> dict[str, bytes]:
        return self.root.below(f"datasets/set/{version.folder}").read_many(version.names)


@pytest.fixture
def objects(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Objects:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = ObjectStore(f"memory://documents-{secrets.token_hex(8)}")
    return Objects(root, plan_of(corpus, tokenizer, FRAMED))


def test_in_an_object_store_lies_what_lies_in_a_folder_and_only_what_is_wrong_is_put_again(
    objects: Objects,
    corpus: Path,
    tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = build(corpus, tmp_path / "set", tokenizer, chunk_size=6_000)
    version = objects.packed().publish()
    files = objects.files(version)
    assert files == scenario.dataset_bytes(tmp_path / "set")
    assert version.made_of is not None
    assert local.facts is not None
    assert version.made_of.documents == local.facts.documents
    assert version.made_of.recipe == local.facts.recipe
    folder = objects.root.below(f"datasets/set/{version.folder}")
    folder.put("dump-3.documents.npy", files["dump-2.documents.npy"])
    folder.remove(["dump-1.documents.parquet"])
    put: list[str] = []
    real = ObjectStore.put
    monkeypatch.setattr(
        ObjectStore, "put", lambda self, name, data: [put.append(name), real(self, name, data)]
    )
    assert objects.packed().publish() == version, "facts too are the same, whatever was reused"
    written = {name.rpartition("/")[2] for name in put}
    assert written >= {"dump-3.documents.npy", "dump-1.documents.parquet"}
    assert len([name for name in written if name.endswith(".pkl")]) < version.num_shards / 2
    assert objects.files(version) == files


@pytest.mark.parametrize(
    "name",
    [
        "dump-1.documents.npy",
        pytest.param("dump-1.documents.parquet", marks=pytest.mark.campaign),
    ],
)
def test_a_sidecar_that_the_store_does_not_hold_as_it_was_put_is_never_published(
    name: str, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        flipped = altered(f"/{name}", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        patch.setattr(ObjectStore, "put", flipped)
        staged = objects.packed()
        with pytest.raises(CheckFailedError, match=rf"^integrity: .*/{re.escape(name)} does not"):
            staged.publish()
    assert objects.log.head() is None
    assert objects.packed().publish().number == 1


def test_the_reference_mode_gives_what_it_gave_before_there_were_recipes(
    tmp_path: Path,
) -> None:
    corpus = scenario.write_parquet(tmp_path / "c.parquet", scenario.c_documents(20))
    switches = {**SWITCHES, "pad_token": 0, "chunk_size": 9_000}
    folder = scenario.save_tokenizer(
        scenario.train_tokenizer(scenario.deepseek_like()), tmp_path / "tokenizer"
    )
    made = codedata.build(corpus, tmp_path / "set", tokenizer_base=str(folder), **switches)
    assert made.digest == "4cf2c1cdd55c5b92f1383c13eb1b5c9ff8967aefcdde08fc1660fc74e7051837"
    facts = (tmp_path / "set" / "codedata.yaml").read_text()
    assert re.findall(r"^(\w+):", facts, re.MULTILINE) == [
        *("format", "name", "corpus", "tokenizer", "engine", "versions", "command", "switches"),
        *("counts", "digest", "card_sha256", "facts_sha256"),
    ]
    fingerprint = ChunkFingerprint(
        corpus_sha256="c" * 64, tokenizer_sha256="t" * 64, chars=CharRange(0, 10, 3)
    )
    assert fingerprint.digest == "8ad6886cf088686ca9b7ca32c4db1643"
    decides: dict[str, Any] = {
        "seq_length": 4,
        "min_sample_length": 2,
        "max_dump_size": 3,
        "pad_id": 1,
    }
    version = version_digest([(fingerprint, "i" * 64, 7)], **decides)
    assert version == "81b4074bd08a765976b644fb7192230e"
