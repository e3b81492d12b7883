"""Texts of a server: moto's, behind a gate that is at fault when it is told to."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from codedata.errors import CorpusError
from codedata.progress import SILENT, Reporter
from codedata.sources.columns import Columns, kept_columns
from codedata.sources.contents import NOT_THERE, Content, with_contents
from codedata.sources.formats.rows import BadRows
from codedata.sources.parts import write_parts
from codedata.sources.record import LeadingText
from codedata.store import requests
from codedata_tests.howto_pages import blocks_of
from codedata_tests.sources.loopback_s3 import RESET, STALL, Gate, gate_before, wait_until

pytestmark = pytest.mark.campaign

NUM_TEXTS = 60
TEXTS = [f"int f{n}(void); // é\n" * n for n in range(NUM_TEXTS)]
ENCODINGS = ["utf-8", "iso-8859-1"]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server with public texts, in two encodings, and one that is not public."""
    import s3fs  # a second that runs without these tests need not wait for
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "mine")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        port = server.get_host_and_port()[1]
        system = s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}")
        system.mkdir("softwareheritage")
        packed = {
            f"softwareheritage/content/{n}": gzip.compress(text.encode(ENCODINGS[n % 2]))
            for n, text in enumerate(TEXTS)
        }
        system.pipe(packed, ACL="public-read")
        system.pipe("softwareheritage/empty/0", b"", ACL="public-read")
        system.pipe("softwareheritage/content/private", gzip.compress(b"mine"))
        yield port
        server.stop()


@pytest.fixture
def gate(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
    with gate_before(port) as gate:
        yield gate


def content_of(gate: Gate, scheme: str, **changes: Any) -> Content:
    """The Stack v2's, by one of two file systems."""
    said: dict[str, Any] = {"compression": "gzip", "encoding": "src_encoding", "concurrency": 8}
    if scheme == "s3":
        said["url"] = "s3://softwareheritage/content/{blob_id}"
        said["storage_options"] = {"anon": True, "endpoint_url": gate.address}
    else:
        said["url"] = f"{gate.address}/softwareheritage/content/{{blob_id}}"
    return Content.model_validate({**said, **changes})


def fetched(
    content: Content, names: list[Any] | None = None, reporter: Reporter = SILENT
) -> tuple[list[str | None], BadRows]:
    names = [*range(NUM_TEXTS)] if names is None else names
    encodings = [ENCODINGS[n % 2] if isinstance(n, int) else "utf-8" for n in names]
    batch = pa.record_batch({"blob_id": [str(n) for n in names], "src_encoding": encodings})
    bad = BadRows()
    found = with_contents([batch], content, bad, reporter, name="rows.parquet")
    return [text for batch in found for text in batch.column(0).to_pylist()], bad


def path_of(name: object) -> str:
    return f"/softwareheritage/content/{name}"


def stack_v2_rows(names: list[Any]) -> pa.Table:
    """Rows with The Stack v2's columns and types."""
    when = datetime(2023, 9, 6, tzinfo=None)  # noqa: DTZ001  (as there)
    types = {
        **dict.fromkeys(["blob_id", "directory_id", "path", "content_id"], pa.string()),
        "detected_licenses": pa.list_(pa.string()),
        **dict.fromkeys(["license_type", "repo_name", "snapshot_id", "revision_id"], pa.string()),
        "branch_name": pa.string(),
        **dict.fromkeys(["visit_date", "revision_date", "committer_date"], pa.timestamp("ns")),
        **dict.fromkeys(["github_id", "star_events_count", "fork_events_count"], pa.int64()),
        "gha_license_id": pa.string(),
        **dict.fromkeys(["gha_event_created_at", "gha_created_at"], pa.timestamp("ns")),
        **dict.fromkeys(["gha_language", "src_encoding", "language"], pa.string()),
        **dict.fromkeys(["is_vendor", "is_generated"], pa.bool_()),
        "length_bytes": pa.int64(),
        "extension": pa.string(),
    }
    values = {pa.timestamp("ns"): when, pa.int64(): 7, pa.bool_(): False, pa.string(): "x"}
    row = {name: values.get(type_, ["MIT", "Apache-2.0"]) for name, type_ in types.items()}
    row |= {"gha_license_id": None, "gha_created_at": None, "github_id": None}
    rows = [
        row | {"blob_id": f"{name}", "src_encoding": ENCODINGS[n % 2], "path": f"/src/{n}.c"}
        for n, name in enumerate(names)
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


SCHEMES = pytest.mark.parametrize("scheme", ["s3", "http"])


@SCHEMES
def test_texts_come_in_order_each_asked_for_once_some_at_a_time(gate: Gate, scheme: str) -> None:
    gate.gathers = 8
    assert fetched(content_of(gate, scheme))[0] == TEXTS
    assert gate.asked == {path_of(n): 1 for n in range(NUM_TEXTS)}
    assert gate.most_at_once == 8


@SCHEMES
def test_what_a_busy_server_refuses_is_asked_for_again(gate: Gate, scheme: str) -> None:
    gate.answers = {
        path_of(3): [503, 503, 500],
        path_of(5): [429],
        path_of(8): [RESET, 502],
        path_of(13): [408],
    }
    lines: list[str] = []
    assert (
        fetched(content_of(gate, scheme), reporter=Reporter(lines.append, in_terminal=False))[0]
        == TEXTS
    )
    assert [gate.asked[path_of(n)] for n in (3, 4, 5, 8, 13)] == [4, 1, 2, 3, 2]
    said = re.compile(r"rows.parquet: 60 of 60 rows have a text; [67] requests were made again")
    assert any(map(said.fullmatch, lines)), "a lost connection may be mended below us"


@SCHEMES
def test_a_server_that_says_nothing_is_asked_again(
    gate: Gate, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "TRY_SECONDS", 0.3)
    gate.answers = {path_of(3): [STALL]}
    assert fetched(content_of(gate, scheme), [2, 3, 4])[0] == TEXTS[2:5]
    assert gate.asked[path_of(3)] >= 2


@SCHEMES
def test_a_server_that_stays_busy_ends_the_run_and_no_text_is_null(gate: Gate, scheme: str) -> None:
    gate.answers = {path_of(3): [503] * 100}
    with pytest.raises(CorpusError, match="given up after 3 tries in a row; run again later") as e:
        fetched(content_of(gate, scheme, retries=2))
    assert gate.asked[path_of(3)] == 3
    assert "\n" not in str(e.value)


@SCHEMES
def test_what_is_not_there_is_asked_for_once_and_counted(gate: Gate, scheme: str) -> None:
    texts, bad = fetched(content_of(gate, scheme), [1, "none", 2, 404])
    assert texts == [TEXTS[1], None, TEXTS[2], None]
    assert bad.counts == {NOT_THERE: 2}
    assert gate.asked[path_of("none")] == 1


@SCHEMES
def test_what_is_not_given_to_whoever_asks_ends_the_run_at_the_first(
    gate: Gate, scheme: str
) -> None:
    remedy = "write `anon: true` in storage_options" if scheme == "s3" else "say in storage_options"
    with pytest.raises(CorpusError, match=f"is not given to whoever asks here .*; {remedy}") as e:
        fetched(content_of(gate, scheme), ["private"] * 1000)
    assert gate.asked[path_of("private")] <= 2 * 8
    assert "content/private" in str(e.value)
    assert "\n" not in str(e.value)


def test_who_has_no_keys_is_told_so_before_anything_is_asked(gate: Gate) -> None:
    content = content_of(gate, "s3", storage_options={"endpoint_url": gate.address})
    with pytest.raises(CorpusError, match=r"NoCredentialsError.*write `anon: true`"):
        fetched(content)
    assert not gate.asked


def test_options_that_the_file_system_has_not_are_named(gate: Gate) -> None:
    options = {"anon": True, "endpoint_url": gate.address, "anonymous": True}
    with pytest.raises(CorpusError, match=r"anonymous.*storage_options"):
        fetched(content_of(gate, "s3", storage_options=options))


@SCHEMES
def test_an_empty_object_is_an_empty_text(gate: Gate, scheme: str) -> None:
    content = content_of(gate, scheme, compression="none")
    url = content.url.replace("content/{blob_id}", "{blob_id}")
    texts, _ = fetched(content.model_copy(update={"url": url}), ["empty/0", "empty/0"])
    assert texts == ["", ""]


def test_the_stack_v2_is_read_by_the_yaml_of_its_page(gate: Gate, tmp_path: Path) -> None:
    page = next(each for each in blocks_of("corpora.md") if "softwareheritage" in each.text)
    source = yaml.safe_load(page.text)["attributes"]["source"]
    source["content"]["storage_options"]["endpoint_url"] = gate.address
    content = Content.model_validate(source["content"])
    pq.write_table(stack_v2_rows([*range(NUM_TEXTS), "gone"]), tmp_path / "train.parquet")
    with pq.ParquetFile(tmp_path / "train.parquet") as parquet:
        schema = parquet.schema_arrow
        assert [*content.places(schema, "train.parquet")] == ["blob_id", "src_encoding"]
        kept = kept_columns(schema, Columns(), "train.parquet")
        bad = BadRows()
        found = with_contents(
            parquet.iter_batches(7, columns=[*kept, *content.places(schema, "train.parquet")]),
            content, bad, SILENT, name="train.parquet", num_rows=parquet.metadata.num_rows,
        )  # fmt: skip
        part = write_parts(
            (batch.select(["content", *kept]) for batch in found), tmp_path / "parts",
            name="train.parquet", identity="0" * 64, file_bytes=0, reporter=SILENT,
        )  # fmt: skip
    text = LeadingText(tmp_path / "parts", part)
    assert text.part.num_chars == len(" ".join(TEXTS))
    assert [*part.columns] == [
        "content", "repo_name", "path", "detected_licenses", "license_type", "language",
    ]  # fmt: skip
    assert bad.counts == {NOT_THERE: 1}


def test_ctrl_c_stops_at_once(gate: Gate) -> None:
    gate.answers = {path_of(n): [STALL] * 9 for n in range(NUM_TEXTS)}
    program = f"""
import pyarrow as pa
from codedata.progress import SILENT
from codedata.sources.contents import BadRows, Content, with_contents

batch = pa.record_batch({{"blob_id": [str(n) for n in range(60)]}})
content = Content(url="s3://softwareheritage/content/{{blob_id}}",
                  storage_options={{"anon": True, "endpoint_url": {gate.address!r}}})
print([*with_contents([batch], content, BadRows(), SILENT, name="rows")])
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        wait_until(lambda: gate.asked)
        running.send_signal(signal.SIGINT)
        started = time.monotonic()
        _, stderr = running.communicate(timeout=300)
    assert time.monotonic() - started < 40, "and not a minute, as long as one stalls"
    assert stderr.strip().endswith(b"KeyboardInterrupt")
