"""What a run says of its chunks."""

import sys
import time
from types import SimpleNamespace

import pytest

from codedata import progress
from codedata.format.ranges import CharRange
from codedata.progress import TERMINAL, Reporter, Verbosity, telling

CHARS = CharRange(0, 15_000_000).cut(3_000_000)


def test_a_line_a_chunk_has_count_rate_and_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One chunk of five was reused; 3 of the other 12 million characters take ten seconds."""
    said: list[str] = []
    now = time.monotonic()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    reporter = Reporter(said.append, in_terminal=False)
    with reporter.tokenizing("train", reused=CHARS[:1], missing=CHARS[1:]) as count:
        now += 10
        count(CHARS[1], 1_234_567)
        for chars in CHARS[2:]:
            count(chars, 0)
    assert said[0] == "1 of 5 chunks are unchanged and reused, 4 to tokenize"
    assert said[1] == (
        "chunk 0003000000-0006000000: 1,234,567 tokens; 2 of 5 chunks, "
        "0.3 M characters/s, 30 s left"
    )
    assert said[-1].endswith("0 tokens; 5 of 5 chunks, 1.2 M characters/s, 0 s left")
    assert capfd.readouterr().err == "", "it is no command's"


def test_a_pipe_has_no_bar_but_lines_some_seconds_apart(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    with TERMINAL.tokenizing("train", reused=CHARS[:1], missing=CHARS[1:]) as count:
        for chars in CHARS[1:]:
            now += 3
            count(chars, 7)
    assert capfd.readouterr().err.splitlines() == [
        "Tokenizing train: 1 of 5 chunks are unchanged and reused, 4 to tokenize",
        "Tokenizing train: 3 of 5 chunks, 1.0 M characters/s, 6 s left",
        "Tokenizing train: 5 of 5 chunks, 1.0 M characters/s, 0 s left",
    ]
    with TERMINAL.tokenizing("train", reused=CHARS, missing=[]):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("verbosity", Verbosity)
def test_how_much_is_told_is_what_the_command_was_asked_for(
    verbosity: Verbosity, capsys: pytest.CaptureFixture[str]
) -> None:
    with telling(verbosity), TERMINAL.transfer("c.parquet") as transfer:
        TERMINAL.say("another run is waited for")
        TERMINAL.log("a detail")
        transfer.advance(1_000_000)
    told = [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()]
    fetched = "c.parquet: 1.0 MB fetched in 0.0 s"
    assert (
        told
        == {
            Verbosity.QUIET: [],
            Verbosity.NORMAL: ["another run is waited for", f"Fetching {fetched}"],
            Verbosity.VERBOSE: ["another run is waited for", "a detail", fetched],
        }[verbosity]
    )


@pytest.mark.parametrize("num_reused", [4, 5])
def test_a_terminal_has_a_bar_where_there_is_work(
    num_reused: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    reporter = Reporter(lambda _: None, in_terminal=True)
    missing = CHARS[num_reused:]
    with reporter.tokenizing("train", reused=CHARS[:num_reused], missing=missing) as count:
        for chars in missing:
            count(chars, 1)
    shown = capfd.readouterr().err
    assert ("Tokenizing train: 100%" in shown, "15.0M/15.0M" in shown) == (bool(missing),) * 2


def test_a_terminal_s_line_is_a_part_of_the_work_then_the_whole_again_and_a_pipe_has_the_steps(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logged: list[str] = []
    reporter = Reporter(logged.append, in_terminal=True)

    def shown() -> str:
        with reporter.waiting("making train"), reporter.step("packing\n" + 99 * "x"):
            reporter.say("another run is waited for")
        return capfd.readouterr().err

    steps = f"packing\\n{99 * 'x'}\nanother run is waited for\n"
    assert shown() == steps
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    whole, part, erased = "\r\x1b[Kmaking train ...\r", "\r\x1b[Kpacking", "\r\x1b[K"
    seen = shown()
    assert seen.startswith(f"{whole}{part}")
    assert seen.endswith(f"{erased}{whole}{erased}")
    assert "\r\x1b[Kanother run is waited for\n\r\x1b[Kpacking" in seen
    assert all(len(line) < 20 for line in seen.replace("\r\x1b[K", "\r").split("\r") if "x" in line)
    with telling(Verbosity.QUIET):
        assert shown() == ""
    assert logged.count("making train") == 3


def test_bytes_of_which_nobody_knows_how_many_come_are_said_without_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codedata.progress._LINE_SECONDS", 0)
    lines: list[str] = []
    with Reporter(lines.append, in_terminal=False).transfer("texts") as transfer:
        transfer.advance(3_000_000)
        transfer.expect(4_000_000)
        transfer.advance(1_000_000)
    assert lines[0].startswith("texts: 3.0 MB, ")
    assert lines[1].startswith("texts: 4.0 MB of 4.0 MB, ")
    assert lines[1].endswith(" 0 s left")


def test_of_bytes_that_have_not_begun_to_come_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("codedata.progress._LINE_SECONDS", 0)
    lines: list[str] = []
    with Reporter(lines.append, in_terminal=False).transfer("texts") as transfer:
        transfer.expect(3_000_000)
        transfer.advance(0)
    assert lines == []
