"""The leading characters of a parquet on the hub: the same text, for few of the bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.hub import leading_text
from codedata.hub.client import HubError
from codedata.hub.corpora import CorpusFile, fetch_corpus_file
from codedata.hub.files import fetch_file
from codedata.parallel import available_cores
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario
from codedata_tests.hub.said import Said
from codedata_tests.hub.server import Hub, Repo

NAME = "data/c/a.parquet"
DOCUMENTS = scenario.c_documents(120)
TEXT = scenario.plain_text(DOCUMENTS)


def parquet(documents: list[str], path: Path, **options: object) -> bytes:
    """Row groups of five documents, beside `content` columns that take as much again."""
    noise = [os.urandom(len(document.encode()) // 4).hex() for document in documents]
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


Fetch = Callable[..., CorpusFile]


@pytest.fixture
def fetch(tmp_path: Path, said: Said) -> Fetch:
    def fetch(
        first_chars: int | None, *, update: bool = False, revision: str = "main"
    ) -> CorpusFile:
        return fetch_corpus_file(
            "owner/data",
            NAME,
            revision=revision,
            pin=tmp_path / "pin.json",
            first_chars=first_chars,
            leading=tmp_path / "leading.parquet",
            update=update,
            reporter=said.reporter,
        )

    return fetch


def text_of(fetched: CorpusFile) -> ParquetText:
    return ParquetText(fetched.path, part=fetched.part)


def test_the_text_is_that_of_the_whole_file(repo: Repo, fetch: Fetch) -> None:
    for first_chars in (1, 1000, len(TEXT) // 3, len(TEXT) - 1):
        text = text_of(fetch(first_chars))
        window = text.clip(CharRange(0, first_chars))
        assert window == CharRange(0, first_chars)
        assert text.read(window) == TEXT[:first_chars]
        assert text.part is not None
        assert not text.part.ends_here


def test_no_more_than_the_needed_row_groups_of_one_column_come_over_the_network(
    hub: Hub, repo: Repo, fetch: Fetch, data: bytes
) -> None:
    first_chars = int(len(TEXT) * 0.28)
    part = fetch(first_chars).part
    assert part is not None
    footer_bytes = int.from_bytes(data[-8:-4], "little") + 8
    metadata = pq.read_metadata(pa.BufferReader(data))
    column = metadata.schema.names.index("content")
    content_bytes = sum(
        metadata.row_group(group).column(column).total_compressed_size
        for group in range(part.num_row_groups)
    )
    assert part.num_row_groups < metadata.num_row_groups // 2
    assert hub.bytes_sent < content_bytes + max(footer_bytes, 1 << 16) + 10_000
    assert sum(each.stop - each.start for each in part.ranges) <= hub.bytes_sent
    assert hub.bytes_sent < len(data) / 3


def test_what_is_here_costs_no_request_and_more_is_fetched_beside_it(
    hub: Hub, repo: Repo, fetch: Fetch, data: bytes
) -> None:
    first = fetch(len(TEXT) // 4)
    hub.clear()
    assert fetch(len(TEXT) // 4) == first
    assert fetch(1000).part is not None
    assert not hub.requests
    more = fetch(len(TEXT) // 2)
    assert text_of(more).read(CharRange(0, 1000)) == TEXT[:1000]
    assert 0 < hub.bytes_sent < len(data) / 3
    less = fetch(len(TEXT) // 4).part
    assert first.part is not None
    assert less is not None
    assert less.fingerprint == first.part.fingerprint


def test_all_characters_and_more_are_the_text_to_its_end(repo: Repo, fetch: Fetch) -> None:
    for first_chars in (len(TEXT), len(TEXT) + 1, 10**12):
        fetched = fetch(first_chars)
        assert fetched.part is not None
        assert (fetched.part.ends_here, fetched.part.num_chars) == (True, len(TEXT))
        text = text_of(fetched)
        assert text.clip(CharRange(0, 10**15)) == CharRange(0, len(TEXT)), "as of any whole text"


def test_characters_that_were_not_fetched_are_refused_never_cut_off(
    repo: Repo, fetch: Fetch
) -> None:
    text = text_of(fetch(1000))
    with pytest.raises(CorpusError, match=r"0 to 1001 .* only the first 1000 .* raise first_chars"):
        text.clip(CharRange(0, 1001))


def test_the_fingerprint_is_of_commit_path_and_row_groups_however_the_bytes_came(
    hub: Hub,
    repo: Repo,
    fetch: Fetch,
    said: Said,
    tmp_path: Path,
) -> None:
    def fingerprint(first_chars: int) -> str:
        part = fetch(first_chars).part
        assert part is not None
        return part.fingerprint

    few, many = fingerprint(1000), fingerprint(len(TEXT) // 2)
    assert few != many
    assert fingerprint(1001) == few, "the same row group"
    (tmp_path / "leading.parquet").unlink()
    commit = repo.refs["main"]
    fetch_file("owner/data", NAME, kind="dataset", revision=commit, reporter=said.reporter)
    hub.clear()
    assert fingerprint(1000) == few
    assert not hub.requests, "the whole file in the cache costs none"
    repo.commit({**repo.files(), "other": b"x"})
    assert fingerprint(1000) == few, "the commit is kept"
    part = fetch(1000, update=True).part
    assert part is not None
    assert part.fingerprint != few


def test_the_file_takes_no_more_disk_than_what_is_here(
    repo: Repo, fetch: Fetch, data: bytes, tmp_path: Path
) -> None:
    fetched = fetch(1000)
    stat = fetched.path.stat()
    assert stat.st_size == len(data)
    assert stat.st_blocks * 512 < len(data) / 2
    assert sorted(os.listdir(tmp_path)) == [
        "leading.parquet", "leading.parquet.ranges.json", "pin.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "none"},
        {"compression": "zstd", "use_dictionary": True},
        {"compression": "snappy", "write_page_checksum": True},
        {"compression": "snappy", "row_group_size": 1000},
        {"compression": "snappy", "row_group_size": 1, "write_page_index": True},
    ],
    ids=str,
)
def test_any_parquet_is_read(
    options: dict[str, object], hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    hub.add_repo("owner/data", {NAME: parquet(DOCUMENTS, tmp_path / "x.parquet", **options)})
    fetched = fetch(len(TEXT) // 3)
    window = CharRange(1000, len(TEXT) // 3)
    text = text_of(fetched)
    text.clip(window)
    assert text.read(window) == TEXT[1000 : len(TEXT) // 3]


def test_broken_and_refused_transfers_are_waited_for(
    hub: Hub,
    repo: Repo,
    fetch: Fetch,
    said: Said,
) -> None:
    hub.fail(blobs=True, cut_after=3000, times=3)
    hub.fail(blobs=True, status=503, times=2)
    hub.fail(blobs=True, stall_after=2000)
    text = text_of(fetch(len(TEXT) // 3))
    text.clip(CharRange(0, len(TEXT) // 3))
    assert text.read(CharRange(0, len(TEXT) // 3)) == TEXT[: len(TEXT) // 3]
    assert any("connection broke" in line for line in said)
    assert any("503" in line for line in said)


def test_a_transfer_that_damages_pages_with_checksums_is_fetched_once_more(
    hub: Hub,
    fetch: Fetch,
    said: Said,
    tmp_path: Path,
) -> None:
    checked = parquet(DOCUMENTS, tmp_path / "x.parquet", write_page_checksum=True)
    hub.add_repo("owner/data", {NAME: checked})
    fetch(1)  # the footer, and the first row group
    hub.fail(blobs=True, flip_at=0.5)
    text = text_of(fetch(len(TEXT) // 2))
    text.clip(CharRange(0, len(TEXT) // 2))
    assert text.read(CharRange(0, len(TEXT) // 2)) == TEXT[: len(TEXT) // 2]
    assert any("is damaged in row group" in line and "once more" in line for line in said)


@pytest.mark.parametrize(("skip", "place"), [(0, 0.5), (1, 0.99999)], ids=["magic", "footer"])
def test_a_damaged_start_or_footer_is_fetched_once_more(
    skip: int, place: float, hub: Hub, repo: Repo, fetch: Fetch, said: Said
) -> None:
    hub.fail(blobs=True, flip_at=place, skip=skip)
    text = text_of(fetch(1000))
    text.clip(CharRange(0, 1000))
    assert text.read(CharRange(0, 1000)) == TEXT[:1000]
    assert any("once more" in line for line in said)


def test_a_range_that_was_damaged_on_the_disk_is_refused_and_fetched_again(
    hub: Hub, repo: Repo, fetch: Fetch
) -> None:
    fetched = fetch(1000)
    assert fetched.part is not None
    last = fetched.part.ranges[1]
    with open(fetched.path, "r+b") as file:
        file.seek(last.start + 10)
        byte = file.read(1)
        file.seek(last.start + 10)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CorpusError, match=f"bytes {last.start} to {last.stop} of .* materialize"):
        text_of(fetched)
    hub.clear()
    assert text_of(fetch(1000)).read(CharRange(0, 1000)) == TEXT[:1000]
    assert 0 < hub.bytes_sent <= last.stop - last.start


def test_no_room_is_said_before_the_column_is_fetched(
    hub: Hub, repo: Repo, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("codedata.hub.cache.shutil.disk_usage", lambda _: usage)
    with pytest.raises(HubError, match=r"needs 0\.\d MB on the disk of .* make room"):
        fetch(len(TEXT) // 2)
    assert hub.bytes_sent < 1 << 17


def test_an_update_that_fails_leaves_what_worked(
    hub: Hub, repo: Repo, data: bytes, fetch: Fetch, tmp_path: Path
) -> None:
    before = fetch(1000)
    pin = (tmp_path / "pin.json").read_bytes()
    newer = parquet([text.upper() for text in DOCUMENTS], tmp_path / "newer.parquet")
    commit = repo.commit({NAME: newer})
    hub.fail(blobs=True, status=503, skip=2, times=1000)
    with pytest.raises(HubError, match="given up"):
        fetch(1000, update=True)
    assert text_of(before).read(CharRange(0, 1000)) == TEXT[:1000]
    assert (tmp_path / "pin.json").read_bytes() == pin
    assert fetch(1000) == before
    hub.faults.clear()
    hub.clear()
    after = fetch(1000, update=True)
    assert after.commit == commit
    assert text_of(after).read(CharRange(0, 1000)) == TEXT[:1000].upper()
    assert 0 < hub.bytes_sent < 40_000, "the transfer went on where it had ended"
    assert sorted(path.name for path in tmp_path.glob("leading*")) == [
        "leading.parquet",
        "leading.parquet.ranges.json",
    ]


def test_a_commit_that_left_the_file_alone_costs_none_of_its_bytes(
    hub: Hub, repo: Repo, fetch: Fetch
) -> None:
    before = fetch(1000)
    commit = repo.commit({**repo.files(), "README.md": b"# Newer"})
    hub.clear()
    after = fetch(1000, update=True)
    assert after.commit == commit != before.commit
    assert hub.bytes_sent == 0
    assert text_of(after).read(CharRange(0, 1000)) == TEXT[:1000]


def test_a_disk_that_is_full_is_no_damage(
    hub: Hub, repo: Repo, fetch: Fetch, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, write, one_at_a_time = 100_000, os.pwrite, Lock()

    def fill_up(descriptor: int, data: bytes, position: int) -> int:
        nonlocal left
        with one_at_a_time:
            if not left:
                raise OSError(28, "No space left on device")
            written = write(descriptor, data[:left], position)
            left -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fill_up)
        with pytest.raises(OSError, match="No space left on device"):
            fetch(len(TEXT))
    assert not any("once more" in line for line in said)
    sent = hub.bytes_sent
    hub.clear()
    assert text_of(fetch(len(TEXT))).read(CharRange(0, len(TEXT))) == TEXT
    assert hub.bytes_sent < sent + len(TEXT) - 50_000, "what had arrived was kept"


def test_short_reads_and_writes_are_gone_on_with(
    hub: Hub, repo: Repo, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, size, at: read(fd, min(size, 999), at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: write(fd, data[:777], at))
    assert text_of(fetch(5000)).read(CharRange(0, 5000)) == TEXT[:5000]


def test_an_interrupt_ends_waiting_threads_too(hub: Hub, repo: Repo, fetch: Fetch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    hub.fail(blobs=True, status=429, headers={"Retry-After": "60"}, skip=4, times=1000)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.7)
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            fetch(len(TEXT))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - started < 10


def test_text_that_is_stored_once_for_many_rows_is_not_fetched_ahead(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    documents = [chr(97 + row // 20) * 20_000 for row in range(200)]
    options = {"row_group_size": 20, "use_dictionary": True}
    hub.add_repo("owner/data", {NAME: parquet(documents, tmp_path / "d.parquet", **options)})
    fetched = fetch(100_000)
    assert fetched.part is not None
    assert fetched.part.num_row_groups == 1
    noise_bytes = 200 * 10_000
    assert hub.bytes_sent < 300_000 < noise_bytes


def test_after_a_refusal_nothing_more_is_asked_for(hub: Hub, repo: Repo, fetch: Fetch) -> None:
    gone = {"X-Error-Code": "EntryNotFound"}
    hub.fail(blobs=True, status=404, headers=gone, skip=2, times=1000)
    with pytest.raises(HubError, match="the repository has no"):
        fetch(len(TEXT))
    refused = len(hub.asked(blobs=True)) - 2
    assert 1 <= refused <= available_cores(), "one a thread, of two dozen row groups"


@pytest.mark.parametrize(
    ("files", "said_of_it"),
    [
        ({NAME: b"<html>no parquet</html>" * 100}, "not a parquet file: it starts with b'<htm'"),
        ({NAME: b""}, "is not a parquet file: it starts with b''"),
        ({NAME: b"PAR1" * 100}, "is not a readable parquet file"),
        ({}, f"the repository has no {NAME} at 'main'"),
    ],
    ids=["html", "empty", "magic", "missing"],
)
def test_what_is_no_parquet_is_refused(
    files: dict[str, bytes], said_of_it: str, hub: Hub, fetch: Fetch
) -> None:
    hub.add_repo("owner/data", files)
    with pytest.raises((CorpusError, HubError), match=said_of_it):
        fetch(1000)


def test_a_parquet_without_the_column_is_refused_with_those_it_has(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    hub.add_repo("owner/data", {NAME: (tmp_path / "x.parquet").read_bytes()})
    with pytest.raises(CorpusError, match="no columns named 'content'; its columns are text"):
        fetch(1000)


FETCH = f"""
import sys
from pathlib import Path
from codedata.hub.corpora import fetch_corpus_file
from codedata.progress import TERMINAL
here = Path(sys.argv[1])
fetch_corpus_file("owner/data", {NAME!r}, revision="main", pin=here / "pin.json",
    first_chars={len(TEXT) // 2}, leading=here / "leading.parquet", update=False, reporter=TERMINAL)
"""


def test_the_next_process_goes_on_after_a_kill(
    hub: Hub, repo: Repo, data: bytes, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", FETCH, str(tmp_path)]
    environment = {**os.environ, **hub.environment(tmp_path / "hf")}
    hub.fail(blobs=True, times=1000, block_seconds=0.1)
    killed = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    note = tmp_path / "leading.parquet.ranges.json"
    while not note.exists() or note.read_text(encoding="utf-8").count("[") < 6:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    hub.faults.clear()
    hub.clear()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0 < hub.bytes_sent < len(data) / 2
    commit = repo.refs["main"]
    assert leading_text.recall(tmp_path / "leading.parquet", "owner/data", NAME, commit)
