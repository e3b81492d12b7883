"""A corpus under a root in an object store is the one that it is under a folder, read anywhere."""

import json
import os
import pickle
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.components.raw_corpus import RawCorpus
from codedata.components.split_origin import corpus_facts
from codedata.errors import CorpusError, StoreError
from codedata.format.ranges import MAX_CHARACTERS, CharRange
from codedata.layout import Layout
from codedata.sources import parts
from codedata.sources.columns import Columns
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus, record_corpus
from codedata.sources.stored_text import store_corpus, stored_part, text_of
from codedata.store import state
from codedata.store.base import Data
from codedata.store.object_store import ObjectStore
from codedata.store.roots import objects_of
from codedata_tests import scenario
from codedata_tests.said import Said
from codedata_tests.sources.git_repositories import commit

DOCUMENTS = [None, "", *scenario.c_documents(40), None, "ü🙂" * 500, ""]
TEXT = scenario.plain_text(DOCUMENTS)

_NUMBERS = count()


@pytest.fixture
def url() -> str:
    return f"memory://stored-text-{next(_NUMBERS)}/root"


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "GROUP_CHARS", 5_000)


Elsewhere = Callable[[str], Layout]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """The layout of a root on a machine that has nothing."""

    def elsewhere(url: str) -> Layout:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine-{next(_NUMBERS)}"))
        return Layout.at(url, "root")

    return elsewhere


def write(folder: Path, documents: list[str | None] = DOCUMENTS, column: str = "content") -> Path:
    rows = range(len(documents))
    table = {column: documents, "lang": [f"C{row}" for row in rows], "size": [*rows]}
    pq.write_table(pa.table(table), folder / "c.parquet", row_group_size=11)
    return folder / "c.parquet"


def read(corpus: Corpus) -> str:
    text = corpus.open_text()
    return text.read(text.clip(CharRange(0, MAX_CHARACTERS)))


@pytest.mark.parametrize("column", ["content", "text"])
def test_a_parquet_is_cut_into_parts_that_have_its_identity_text_rows_and_columns(
    column: str, tmp_path: Path, url: str, elsewhere: Elsewhere
) -> None:
    layout, parquet = elsewhere(url), write(tmp_path, column=column)
    folder = layout.corpus("c")
    columns = Columns(text=column, id="size")
    corpus = record_corpus(folder, parquet, {"kind": "local"}, columns=columns)
    stored = store_corpus(layout, folder, corpus)
    assert (stored.sha256, stored.num_chars, stored.num_rows, stored.num_null_rows) == (
        (corpus.sha256, corpus.num_chars, corpus.num_rows, corpus.num_null_rows)
    )
    assert (stored.columns, stored.kept, stored.file_sha256) == (
        (corpus.columns, corpus.kept, corpus.file_sha256)
    )
    assert corpus_facts({0: stored}, is_one=True) == corpus_facts({0: corpus}, is_one=True)
    part = stored_part(stored)
    assert part is not None
    assert len(part.parts) > 5
    there, here = stored.open_text(), corpus.open_text()
    assert (there.sha256, there.columns) == (here.sha256, here.columns)
    everything = here.clip(CharRange(0, MAX_CHARACTERS))
    for chars in (everything, *everything.cut(777)):
        assert there.read(chars) == TEXT[chars.start : chars.stop]
        assert there.clip(chars) == chars
    for one, other in ((there, here), (here, there)):
        documents = [*one.documents(everything)]
        rows = np.concatenate([each.rows for each in documents])
        assert [text for each in documents for text in each.texts.to_pylist()] == [
            DOCUMENTS[row] for row in rows
        ]
        assert other.kept(rows).equals(one.kept(rows))
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert left == [folder / RECORD_NAME], "no part stays on this machine"


def test_a_text_travels_as_its_address_and_is_read_where_there_is_nothing_else(
    tmp_path: Path, url: str, elsewhere: Elsewhere
) -> None:
    layout = elsewhere(url)
    folder = layout.corpus("c")
    corpus = record_corpus(folder, write(tmp_path), {"kind": "local"})
    text = text_of(folder, store_corpus(layout, folder, corpus))
    assert text.clip(CharRange(5, 99)) == CharRange(5, 99)
    with pytest.raises(CorpusError, match=rf"has only {len(TEXT)} characters; choose a smaller"):
        text.clip(CharRange(len(TEXT), len(TEXT) + 1))
    sent = pickle.dumps(text)
    assert len(sent) < 400
    assert TEXT[100:120].encode() not in sent
    layout = elsewhere(url)
    arrived = pickle.loads(sent)
    chars = CharRange(len(TEXT) // 2, len(TEXT) // 2 + 100)
    assert arrived.read(chars) == TEXT[chars.start : chars.stop]
    brought = os.listdir(layout.root.parent.parent / "objects")
    assert 2 <= len([name for name in brought if name[0] != "."]) <= 3, "one part or two, and which"
    assert not layout.root.exists()


def test_a_part_that_is_gone_or_other_bytes_is_refused_with_what_to_do(
    tmp_path: Path, url: str, elsewhere: Elsewhere
) -> None:
    layout = elsewhere(url)
    folder = layout.corpus("c")
    corpus = record_corpus(folder, write(tmp_path), {"kind": "local"})
    stored = store_corpus(layout, folder, corpus)
    part = stored_part(stored)
    assert part is not None
    store = ObjectStore(stored.path.rpartition("/")[0])
    name = part.parts[1].name
    store.put(name, b"PAR1 of somebody else")
    with pytest.raises(StoreError, match=f"{name} does not hold what it is named for"):
        read(stored)
    store.remove([name])
    with pytest.raises(CorpusError, match=f"{name} is gone; materialize its corpus again"):
        read(stored)
    assert stored_part(stored) is None
    again = record_corpus(folder, tmp_path / "c.parquet", {"kind": "local"})
    assert store_corpus(layout, folder, again) == stored
    assert read(stored) == TEXT


def test_the_record_comes_last_and_what_is_there_is_not_put_again(
    tmp_path: Path, url: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, parquet, done = elsewhere(url), write(tmp_path), list[str]()
    folder, really_put = layout.corpus("c"), ObjectStore.put

    def put(store: ObjectStore, name: str, data: Data) -> None:
        really_put(store, name, data)
        done.append(name.rpartition("/")[2])

    monkeypatch.setattr(ObjectStore, "put", put)

    def puts() -> list[str]:
        done.clear()
        store_corpus(layout, folder, record_corpus(folder, parquet, {"kind": "local"}))
        return [*done]

    first = puts()
    assert [name[:5] for name in first[-2:]] == ["text-", "corpu"]
    assert len(first) == len({*first}) > 7
    assert puts() == [RECORD_NAME]
    store = objects_of(layout)
    assert store is not None
    parts_put = store.list("parts/")
    store.remove([parts_put[2], state.state_name(layout, folder / RECORD_NAME)])
    layout = elsewhere(url)
    folder = layout.corpus("c")
    assert [name for name in puts() if name[0] == "0"] == [parts_put[2].rpartition("/")[2]]


def sources(folder: Path) -> dict[str, dict[str, Any]]:
    """A source of each kind that has its files on this machine."""
    parquet = write(folder)
    lines = [json.dumps({"content": text, "lang": "C"}) for text in DOCUMENTS]
    (folder / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code = folder / "code"
    commit(code, {f"{n}.c": text for n, text in enumerate(DOCUMENTS) if text})
    fsspec.filesystem("memory").put(str(parquet), f"/{folder.name}/c.parquet")
    return {
        "parquet": {"kind": "local", "path": str(parquet)},
        "jsonl": {"kind": "local", "path": str(folder / "c.jsonl")},
        "folders": {"kind": "folders", "folders": {"code": str(code)}},
        "git": {"kind": "git", "path": str(code)},
        "url": {"kind": "url", "path": f"memory://{folder.name}/c.parquet"},
        "first": {"kind": "url", "path": f"memory://{folder.name}/c.parquet", "first_chars": 9_999},
    }


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "folders", "git", "url", "first"])
def test_every_kind_gives_the_text_that_it_gives_under_a_folder_and_only_once(
    kind: str, tmp_path: Path, url: str, elsewhere: Elsewhere, said: Said
) -> None:
    component = RawCorpus(name="c", source=sources(tmp_path)[kind])
    here = component.materialize(Layout(tmp_path / "root"), said.reporter)
    layout = elsewhere(url)
    there = component.materialize(layout, said.reporter)
    assert there.path.startswith(f"{url}/parts/")
    assert (there.sha256, there.num_chars, there.kept) == (here.sha256, here.num_chars, here.kept)
    assert read(there) == read(here)
    facts = [corpus_facts({0: each}, is_one=True)[0] for each in (there, here)]
    if kind == "folders":  # whose parquet is in the root
        paths = [each.pop("path") for each in facts]
        assert paths == [f"{root}/corpora/c/corpus.parquet" for root in (url, tmp_path / "root")]
    assert facts[0] == facts[1]
    store = objects_of(layout)
    assert store is not None
    before = store.found("parts/")
    assert before
    for again in (layout, elsewhere(url)):
        assert component.materialize(again, said.reporter) == there
        assert store.found("parts/") == before
        assert read_corpus(again.corpus("c")) == there
        left = [path.name for path in again.root.rglob("*") if path.is_file()]
        assert left == [RECORD_NAME], "no file and no part stays on this machine"


def test_more_characters_of_a_url_are_fetched_beside_those_that_are_in_the_store(
    tmp_path: Path, url: str, elsewhere: Elsewhere, said: Said
) -> None:
    source = sources(tmp_path)["first"]
    RawCorpus(name="c", source=source).materialize(elsewhere(url), said.reporter)
    more = RawCorpus(name="c", source=source | {"first_chars": 19_999})
    layout = elsewhere(url)
    stored = more.materialize(layout, said.reporter)
    assert read(stored) == TEXT[:19_999]
    here = more.materialize(Layout(tmp_path / "root"), said.reporter)
    assert (stored.sha256, stored.num_chars) == (here.sha256, here.num_chars)
