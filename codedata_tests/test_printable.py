"""What a terminal shows: foreign text cannot move its cursor, and no character stops a command."""

import io
import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.cli import main
from codedata.components.raw_corpus import corpus_metadata
from codedata.errors import CorpusError, SettingsError, TargetError
from codedata.layout import Layout
from codedata.places import local_path
from codedata.printable import printable, printable_lines
from codedata.progress import Reporter
from codedata.sources.record import record_corpus
from codedata.store.publishing import check_target
from codedata_tests import scenario

CLEARS = "\x1b[2J\x1b]0;title\x07"
TURNS = "\u202eabc\u2066"
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@given(st.text())
def test_only_what_is_seen_is_left_and_the_rest_can_be_read_back(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in shown)
    assert printable(shown) == shown
    if "\\" not in text:
        assert shown.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


def test_escapes_are_those_of_python() -> None:
    assert printable("a\x1b[2J\r\n\t\u202e\u200d\x7f\xa0\udce9é中🙂 ") == (
        "a\\x1b[2J\\r\\n\\t\\u202e\\u200d\\x7f\\xa0\\udce9é中🙂 "
    )
    assert printable_lines("a\r\n\tb\r\x0b") == "a\n\tb\\r\\x0b"


def test_an_error_is_printable_wherever_it_comes_from_and_goes() -> None:
    error = CorpusError(f"column {CLEARS} of {TURNS}")
    assert str(error) == "column \\x1b[2J\\x1b]0;title\\x07 of \\u202eabc\\u2066"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_a_run_tells_is_printable_in_log_and_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines: list[str] = []
    reporter = Reporter(lines.append, in_terminal=True)
    reporter.say(f"the hub says {CLEARS}")
    with reporter.transfer(f"{TURNS}.parquet") as transfer:
        transfer.advance(1)
    assert "\x1b[2J" not in capsys.readouterr().err
    assert all(line.isprintable() for line in lines)
    assert len(lines) == 2


def test_a_decoded_sample_is_shown_without_its_escapes(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    ids = tokenizer.encode(f"int a;\n\tint b; // {CLEARS}", add_special_tokens=False).ids
    folder = scenario.write_dataset(tmp_path / "dataset", [[ids]])
    assert main(["show", str(folder), "--tokenizer", str(tokenizer_folder)]) == 0
    out = capsys.readouterr().out
    assert "int a;\n\tint b; // \\x1b[2J\\x1b]0;title\\x07" in out
    assert "\x1b" not in out


def test_the_ui_shows_foreign_columns_and_documents_as_what_is_seen_of_them(
    tmp_path: Path,
) -> None:
    table = pa.table({"content": [f"int a; // {TURNS}\n\tint {CLEARS};"], TURNS: [1]})
    pq.write_table(table, tmp_path / "c.parquet")
    corpus = record_corpus(tmp_path / "c", tmp_path / "c.parquet", {"kind": "local"})
    metadata = corpus_metadata(corpus, 1.0)
    names = [column.name for column in metadata["dagster/column_schema"].columns]
    assert names == ["content", "\\u202eabc\\u2066"]
    shown = metadata["preview"].md_str
    assert "int a; // \\u202eabc\\u2066\n\tint \\x1b[2J" in shown
    assert printable_lines(shown) == shown


def test_arguments_that_are_refused_are_printed_without_their_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", f"no {CLEARS} folder"]) == 1
    assert "\\x1b[2J" in (err := capsys.readouterr().err)
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("module", "encoding"), [("codedata", "ascii"), ("codedata.tokenize_data", "latin-1")]
)
def test_a_stream_that_cannot_hold_a_character_gets_its_escape(
    module: str, encoding: str, tmp_path: Path
) -> None:
    (tmp_path / "中").touch()
    arguments = {
        "codedata": ["verify", "/no/中/folder"],
        "codedata.tokenize_data": [
            "--data_file",
            tmp_path,
            "--tokenization_folder",
            tmp_path / "中",
        ],
    }[module]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert b"\\u4e2d" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_stream_of_a_test_or_a_notebook_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    assert main(["verify", "/no/folder"]) == 1
    assert "/no/folder" in stream.getvalue()


# Names that are not UTF-8


def test_a_path_that_no_record_can_hold_is_refused_before_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / NOT_UTF8).mkdir()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(SettingsError, match=r"^it is '.*caf\\udce9', a name that is not UTF-8"):
        local_path(NOT_UTF8, "it")
    for target in (folder / "dataset", tmp_path / "link" / "dataset"):
        with pytest.raises(TargetError, match=r"the target is .* not UTF-8"):
            check_target(target)
    monkeypatch.chdir(folder)
    with pytest.raises(SettingsError, match=r"CODEDATA_ROOT is .* not UTF-8"):
        Layout.at("data", "CODEDATA_ROOT")
