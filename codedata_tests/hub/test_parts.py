"""The leading characters of a parquet on the hub: the same text, for few of the bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.components.raw_corpus import RawCorpus
from codedata.components.split_origin import corpus_facts
from codedata.components.split_spec import records_of
from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.hub.corpora import fetch_corpus
from codedata.hub.files import fetch_file
from codedata.hub.refusals import HubError
from codedata.hub.source import HubSource
from codedata.layout import Layout
from codedata.progress import SILENT
from codedata.sources.record import Corpus, TextPart, fingerprint_of
from codedata_tests import scenario
from codedata_tests.components.test_object_roots import split_over
from codedata_tests.hub.server import Hub, Repo
from codedata_tests.said import Said

NAME = "data/c/a.parquet"
DOCUMENTS = scenario.c_documents(120)
TEXT = scenario.plain_text(DOCUMENTS)


def parquet(documents: list[str], path: Path, **options: object) -> bytes:
    """Row groups of five documents, beside `content` columns that take as much again."""
    random = Random(5)
    noise = [random.randbytes(len(document.encode()) // 4).hex() for document in documents]
    table = pa.table({"hexsha": noise, "content": documents, "path": noise})
    settings = {"row_group_size": 5, "use_dictionary": False, "compression": "none", **options}
    settings["write_statistics"] = ["hexsha"]
    pq.write_table(table, path, **settings)  # pyright: ignore[reportArgumentType]
    return path.read_bytes()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return parquet(DOCUMENTS, tmp_path_factory.mktemp("leading") / "a.parquet")


@pytest.fixture
def repo(hub: Hub, data: bytes) -> Repo:
    return hub.add_repo("owner/data", {NAME: data})


Fetch = Callable[..., Corpus]


@pytest.fixture
def fetch(tmp_path: Path, said: Said) -> Fetch:
    def fetch(first_chars: int, *, update: bool = False) -> Corpus:
        source = HubSource(repo="owner/data", path=NAME, first_chars=first_chars)
        return fetch_corpus(source, NAME, tmp_path / "c", said.reporter, update=update)

    return fetch


def part_of(fetched: Corpus) -> TextPart:
    assert fetched.part is not None
    return fetched.part


def read(fetched: Corpus, num_chars: int) -> str:
    text = fetched.open_text()
    return text.read(text.clip(CharRange(0, num_chars)))


def add_repo(hub: Hub, contents: pa.Array, folder: Path, **options: Any) -> None:
    pq.write_table(pa.table({"content": contents}), folder / "x.parquet", **options)
    hub.add_repo("owner/data", {NAME: (folder / "x.parquet").read_bytes()})


def test_the_text_is_that_of_the_whole_file_as_far_as_is_asked_for(
    repo: Repo, fetch: Fetch
) -> None:
    """Beyond what was fetched it is refused, never cut off, but where the text ends."""
    length = len(TEXT)
    for first_chars in (1, 1000, length // 3, length - 1, length, 10**12):
        fetched = fetch(first_chars)
        part = part_of(fetched)
        is_whole = first_chars >= length
        assert (part.ends_here, part.num_chars) == (is_whole, min(first_chars, length))
        assert read(fetched, first_chars) == TEXT[:first_chars]
        rows = [
            (int(row), document)
            for batch in fetched.open_text().documents(CharRange(0, part.num_chars))
            for row, document in zip(batch.rows, batch.texts.to_pylist(), strict=True)
        ]
        assert rows == list(enumerate(DOCUMENTS[: len(rows)])), "rows of the whole file"
        if is_whole:
            assert read(fetched, 10**15) == TEXT
        else:
            refused = f"0 to {first_chars + 1} .* only the first {first_chars} .* raise first_chars"
            with pytest.raises(CorpusError, match=refused):
                read(fetched, first_chars + 1)


def test_no_more_than_the_needed_row_groups_of_one_column_come_over_the_network(
    hub: Hub, repo: Repo, fetch: Fetch, data: bytes
) -> None:
    part = part_of(fetch(int(len(TEXT) * 0.28)))
    footer_bytes = int.from_bytes(data[-8:-4], "little") + 8
    metadata = pq.read_metadata(pa.BufferReader(data))
    column = metadata.schema.names.index("content")
    content_bytes = sum(
        metadata.row_group(group).column(column).total_compressed_size
        for group in range(len(part.parts))
    )
    assert len(part.parts) < metadata.num_row_groups // 2
    assert hub.bytes_sent < content_bytes + footer_bytes + (1 << 16) + 10_000
    assert hub.bytes_sent < len(data) / 3
    assert len(hub.asked("HEAD")) == 1
    assert not [path for path in hub.asked("GET") if "/api/" in path], "no listings"


def test_what_is_here_costs_no_request_and_more_is_fetched_beside_it(
    hub: Hub, repo: Repo, fetch: Fetch, data: bytes
) -> None:
    first = fetch(len(TEXT) // 4)
    hub.clear()
    assert fetch(len(TEXT) // 4) == first
    assert read(fetch(1000), 1000) == TEXT[:1000]
    assert not hub.requests
    more = fetch(len(TEXT) // 2)
    assert read(more, 1000) == TEXT[:1000]
    assert 0 < hub.bytes_sent < len(data) / 3
    assert fetch(len(TEXT) // 4) == first


def test_the_fingerprint_is_that_of_the_chunks_that_are_stored() -> None:
    """As codedata computed it when the text was in a sparse file."""
    assert fingerprint_of("a" * 40, "data/c/a.parquet", "b" * 64, 13) == (
        "e7e88fa8bf8049b4e322fcdca13d3cd7bfb480546e9e0d46073846edb041e8f9"
    )


def test_the_fingerprint_is_of_commit_path_and_row_groups_however_the_bytes_came(
    hub: Hub, repo: Repo, fetch: Fetch, said: Said, tmp_path: Path
) -> None:
    def fingerprint(first_chars: int) -> str:
        return part_of(fetch(first_chars)).fingerprint

    few, many = fingerprint(1000), fingerprint(len(TEXT) // 2)
    assert few != many
    assert fingerprint(1001) == few, "the same row group"
    shutil.rmtree(tmp_path / "c" / "parts")
    (tmp_path / "c" / "corpus.json").unlink()
    commit = repo.refs["main"]
    fetch_file("owner/data", NAME, kind="dataset", revision=commit, reporter=said.reporter)
    hub.clear()
    assert fingerprint(1000) == few
    assert not hub.requests, "the whole file in the cache costs none"
    fetch(1000)
    commit = repo.commit({**repo.files(), "other": b"x"})
    assert fingerprint(1000) == few, "the commit is kept"
    hub.clear()
    after = fetch(1000, update=True)
    assert after.origin["commit"] == commit
    assert not hub.bytes_sent, "a commit that left the file alone"
    assert part_of(after).fingerprint != few
    assert read(after, 1000) == TEXT[:1000]


@pytest.mark.parametrize(
    ("column_type", "options"),
    [
        (pa.large_string(), {"compression": "none", "row_group_size": 7}),
        (pa.dictionary(pa.int32(), pa.string()), {"compression": "zstd", "row_group_size": 100}),
        (pa.string(), {"write_page_checksum": True, "write_page_index": True}),
    ],
    ids=str,
)
def test_any_parquet_is_read(
    column_type: pa.DataType, options: dict[str, Any], hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    documents = ["ab", None, "", "ü" * 50, None, "c"] * 40
    plain = scenario.plain_text(documents)
    add_repo(hub, pa.array(documents).cast(column_type), tmp_path, **options)
    assert read(fetch(500), 500) == plain[:500]
    fetched = fetch(10**9)
    assert read(fetched, 10**9) == plain
    assert sum(part.num_documents + part.num_nulls for part in part_of(fetched).parts) == 240


def test_row_groups_of_empty_documents_are_gone_beyond_until_there_is_text(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    documents = [*[""] * 50, "text", *["more"] * 49]
    add_repo(hub, pa.array(documents), tmp_path, row_group_size=25)
    fetched = fetch(20)
    assert len(part_of(fetched).parts) == 3
    assert read(fetched, 20) == scenario.plain_text(documents)[:20]


def test_broken_and_refused_transfers_are_waited_for(
    hub: Hub, repo: Repo, fetch: Fetch, said: Said
) -> None:
    hub.fail(blobs=True, cut_after=3000, times=2)
    hub.fail(blobs=True, status=503)
    hub.fail(blobs=True, stall_after=2000)
    hub.fail(blobs=True, shift=5)
    assert read(fetch(len(TEXT) // 3), len(TEXT) // 3) == TEXT[: len(TEXT) // 3]
    for why in ("connection broke", "503", "sends nothing", "answers with Content-Range"):
        assert any(why in line for line in said), why


def test_a_server_that_ignores_ranges_is_said_with_the_way_out(
    hub: Hub, repo: Repo, fetch: Fetch
) -> None:
    hub.fail(blobs=True, ignore_range=True, times=1000)
    with pytest.raises(HubError, match=r"sends all of a file of which a part .* leave first_chars"):
        fetch(1000)


def test_a_transfer_that_damages_pages_with_checksums_or_the_footer_is_refused_and_done_anew(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    checked = parquet(DOCUMENTS, tmp_path / "x.parquet", write_page_checksum=True)
    hub.add_repo("owner/data", {NAME: checked})
    hub.fail(blobs=True, flip_at=0.99999)
    with pytest.raises(CorpusError, match=r"is not a readable parquet file: .*fetch it again"):
        fetch(1)
    fetch(1)  # the first row group
    hub.fail(blobs=True, flip_at=0.5, skip=2)
    with pytest.raises(CorpusError, match=r"is damaged in row group 1: .*run again, or name anot"):
        fetch(len(TEXT) // 2)
    assert read(fetch(len(TEXT) // 2), len(TEXT) // 2) == TEXT[: len(TEXT) // 2]


def test_a_part_that_was_damaged_on_the_disk_is_refused_and_only_it_is_fetched_again(
    hub: Hub, repo: Repo, fetch: Fetch
) -> None:
    fetched = fetch(len(TEXT) // 3)
    damaged = Path(fetched.path) / part_of(fetched).parts[1].name
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(CorpusError, match=f"{damaged} is not as it was fetched; materialize"):
        read(fetched, len(TEXT) // 3)
    damaged.unlink()
    with pytest.raises(CorpusError, match=f"{damaged} is not as it was fetched"):
        read(fetched, 1)
    hub.clear()
    assert read(fetch(len(TEXT) // 3), 1000) == TEXT[:1000]
    assert len(hub.asked(blobs=True)) == 3, "the footer, which is long, and a column"


def test_a_row_that_is_no_text_is_said_and_what_stands_before_it_is_kept(
    hub: Hub, fetch: Fetch, said: Said, tmp_path: Path
) -> None:
    contents = pa.array([b"good"] * 20 + [b"bad \xff"] + [b"good"] * 9, pa.binary())
    add_repo(hub, contents.view(pa.string()), tmp_path, row_group_size=10)
    with pytest.raises(CorpusError, match=f"row group 2 of {NAME} of owner/data: .* UTF-8"):
        fetch(1000)
    hub.clear()
    with pytest.raises(CorpusError, match="row group 2"):
        fetch(1000)
    assert len(hub.asked(blobs=True)) == 2, "footer and column"
    assert read(fetch(90), 90) == "good " * 18, "the good rows can be had"


def test_an_update_that_fails_leaves_what_worked(
    hub: Hub, repo: Repo, fetch: Fetch, tmp_path: Path
) -> None:
    before = fetch(1000)
    pin = (tmp_path / "c" / "pin.json").read_bytes()
    newer = parquet([text.upper() for text in DOCUMENTS], tmp_path / "newer.parquet")
    commit = repo.commit({NAME: newer})
    hub.fail(blobs=True, status=503, skip=2, times=1000)
    with pytest.raises(HubError, match="given up"):
        fetch(10_000, update=True)
    assert read(before, 1000) == TEXT[:1000]
    assert (tmp_path / "c" / "pin.json").read_bytes() == pin
    assert fetch(1000) == before
    hub.faults.clear()
    hub.clear()
    after = fetch(1000, update=True)
    assert after.origin["commit"] == commit
    assert read(after, 1000) == TEXT[:1000].upper()
    assert len(hub.asked(blobs=True)) == 3, "a long footer, and a column"
    assert [path.name for path in (tmp_path / "c" / "parts").iterdir()] == [Path(after.path).name]


def test_a_disk_that_is_full_is_no_damage_and_what_had_arrived_stays(
    hub: Hub, repo: Repo, fetch: Fetch, said: Said, tmp_path: Path
) -> None:
    left = [None] * 9

    def fill_up(_: int) -> None:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        with pytest.raises(OSError, match="No space left on device"):
            fetch(len(TEXT))
    arrived = len(list(tmp_path.glob("c/parts/*/0*")))
    assert arrived > 2
    hub.clear()
    assert read(fetch(len(TEXT)), len(TEXT)) == TEXT
    there = len(list(tmp_path.glob("c/parts/*/0*")))
    assert len(hub.asked(blobs=True)) == 2 + there - arrived, "a long footer, what was not here"


def test_what_is_no_parquet_of_documents_is_refused(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    no_text = "holds no text: 3 rows, of which 1 have a null and 2 an empty"
    for content, said_of_it in (
        (b"<html>no parquet</html>" * 100, "owner/data is not a readable parquet file"),
        (b"", "owner/data is not a readable parquet file"),
        (pa.table({"text": ["a"]}), "no columns named 'content'; its columns are text"),
        (pa.table({"content": pa.array(["", "", None])}), no_text),
    ):
        data = content
        if isinstance(content, pa.Table):
            pq.write_table(content, tmp_path / "x.parquet")
            data = (tmp_path / "x.parquet").read_bytes()
        hub.add_repo("owner/data", {NAME: data})
        with pytest.raises(CorpusError, match=said_of_it):
            fetch(1000, update=True)


def test_the_sparse_file_of_an_older_codedata_is_removed_and_that_is_said(
    repo: Repo, fetch: Fetch, said: Said, tmp_path: Path
) -> None:
    (tmp_path / "c").mkdir()
    for name in ("leading.parquet", "leading.parquet.ranges.json"):
        (tmp_path / "c" / name).write_bytes(b"old")
    assert read(fetch(1000), 1000) == TEXT[:1000]
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        "parts",
        "corpus.json",
        "pin.json",
    }
    assert any("leading.parquet is removed: the text is in" in line for line in said)


FETCH = f"""
import sys
from pathlib import Path
from codedata.hub.corpora import fetch_corpus
from codedata.progress import TERMINAL
from codedata.hub.source import HubSource
source = HubSource(repo="owner/data", path={NAME!r}, first_chars={len(TEXT) // 2})
fetch_corpus(source, {NAME!r}, Path(sys.argv[1], "c"), TERMINAL, update=False)
"""


def test_what_a_killed_process_had_fetched_is_not_fetched_again(
    hub: Hub, repo: Repo, tmp_path: Path, fetch: Fetch
) -> None:
    command = [sys.executable, "-c", FETCH, str(tmp_path)]
    environment = {**os.environ, **hub.environment(tmp_path / "hf")}
    hub.fail(blobs=True, times=1000, block_seconds=0.1)
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while len(list(tmp_path.glob("c/parts/*/0*"))) < 6:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    arrived = len(list(tmp_path.glob("c/parts/*/0*")))
    hub.faults.clear()
    hub.clear()
    assert read(fetch(len(TEXT) // 2), 1000) == TEXT[:1000]
    there = len(list(tmp_path.glob("c/parts/*/0*")))
    most = (
        3 + there - arrived
    )  # a long footer, what was not here, what the killed one had asked for
    assert len(hub.asked(blobs=True)) <= most


@pytest.mark.parametrize("first_chars", [None, 20_000])
def test_under_a_root_in_an_object_store_row_groups_go_there_and_no_file_stays_here(
    first_chars: int | None,
    hub: Hub,
    repo: Repo,
    data: bytes,
    tmp_path: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same text as under a folder, known by the same hash; on another machine it is found."""
    source = {"kind": "hub", "repo": "owner/data", "path": NAME, "first_chars": first_chars}
    component = RawCorpus(name="c", source=source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    url = f"memory://hub-{first_chars}/root"
    there = component.materialize(Layout.at(url, "root"), said.reporter)
    assert not [*(tmp_path / "hf").rglob("blobs/*")]
    hub.clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    layout = Layout.at(url, "root")
    assert component.materialize(layout, said.reporter) == there
    assert component.typed_source.bytes_to_fetch(0, layout.corpus("c"), said.reporter) == 0
    assert not hub.requests
    here = component.materialize(Layout(tmp_path / "root"), said.reporter)
    assert (there.sha256, there.num_chars, there.kept) == (here.sha256, here.num_chars, here.kept)
    assert corpus_facts({0: there}, is_one=True) == corpus_facts({0: here}, is_one=True)
    assert read(there, first_chars or len(TEXT)) == TEXT[:first_chars]
    repo.commit({NAME: data, "README.md": b"another commit with the same file"})
    hub.clear()
    moved = component.materialize(layout, said.reporter, update=True)
    assert moved.origin["commit"] != there.origin["commit"]
    is_all = first_chars is None  # of the leading text, the fingerprint is of the commit too
    assert (moved.path == there.path, moved.sha256 == there.sha256) == (is_all, is_all)
    assert hub.bytes_sent < 1_000, "the bytes are there already"


def test_machines_that_bring_files_while_the_branch_moves_are_of_the_commit_that_one_took_first(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has resolved the branch, and brought its file, when the other does; that one is first."""
    names = [f"{number}.parquet" for number in range(3)]

    def files(seed: int) -> dict[str, bytes]:
        texts = [scenario.c_documents(9, seed + n) for n in range(3)]
        return {n: parquet(t, tmp_path / "p") for n, t in zip(names, texts, strict=True)}

    repo = hub.add_repo("owner/moves", files(0))
    component = RawCorpus(name="c", source={"kind": "hub", "repo": "owner/moves", "path": names})

    def machine(name: str) -> Layout:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return Layout.at("memory://hub-moves/root", "root")

    one, other = machine("one"), machine("other")
    materialize, commits = HubSource.materialize, list[str]()

    def slow(self: HubSource, *of: Any, **options: Any) -> Corpus:
        brought = materialize(self, *of, **options)
        if not commits:
            commits.append(brought.origin["commit"])
            commits.append(repo.commit(files(10)))
            component.materialize(other, SILENT, file=1)
        return brought

    monkeypatch.setattr(HubSource, "materialize", slow)
    component.materialize(one, SILENT, file=0)
    component.materialize(one, SILENT, file=2)
    spec = split_over(3, one)
    for number, record in records_of(spec, other).items():
        assert record.origin["commit"] == commits[1] != commits[0]
        expected = scenario.plain_text(scenario.c_documents(9, 10 + number))
        assert read(record, len(expected)) == expected
    repo.commit(files(20))
    component.materialize(one, SILENT, file=2, update=True)
    with pytest.raises(CorpusError, match=r"file 0 of corpus 'c' is of commit \w+, but file 2 "):
        records_of(spec, other)


def test_a_small_file_whose_hash_the_hub_does_not_state_comes_whole_and_is_cut(
    hub: Hub, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(json.dumps({"content": text}) + "\n" for text in DOCUMENTS)
    hub.add_repo("owner/small", {"c.jsonl": lines.encode()})
    component = RawCorpus(
        name="c", source={"kind": "hub", "repo": "owner/small", "path": "c.jsonl"}
    )
    here = component.materialize(Layout(tmp_path / "root"), said.reporter)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    there = component.materialize(Layout.at("memory://hub-small/root", "root"), said.reporter)
    assert (there.sha256, read(there, len(TEXT))) == (here.sha256, TEXT)
