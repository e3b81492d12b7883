"""The command line as a whole: help, version, exit status, how much is told, who stops reading."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from codedata.cli import main
from codedata_tests import scenario


def usage_error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    usage, *_, error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: codedata ")
    return error


def test_help_groups_the_commands_and_gives_examples_and_the_root(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "\nmake:\n  init         write a project of your own" in said
    assert "\n  materialize  make the datasets of splits, and mixtures of them\n" in said
    assert said.index("\nlook:\n  list ") < said.index("  verify ") < said.index("\nshare:\n")
    assert "examples:\n  codedata materialize demo_train demo_validation " in said
    assert "$CODEDATA_ROOT, by default ./data; that may be an object store" in said


@pytest.mark.parametrize("program", ["codedata", "codedata.tokenize_data"])
def test_the_version_is_that_of_the_installation(program: str) -> None:
    command = [sys.executable, "-m", program, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"codedata {version('codedata')}\n", "")


def test_a_word_that_is_no_command_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert usage_error(capsys, "materialise", "x") == (
        "codedata: error: there is no command 'materialise'; did you mean materialize?"
    )
    assert "'nosuch'; there are init, materialize, list, show, " in usage_error(capsys, "nosuch")
    assert usage_error(capsys, "export", "d", "--to", "parket") == (
        "codedata export: error: argument --to: there is no 'parket'; did you mean parquet?"
    )


def test_a_reader_that_has_seen_enough_ends_a_command_quietly(tmp_path: Path) -> None:
    """More is printed than a pipe holds, so that the command is there when its reader goes."""
    long = scenario.write_dataset(tmp_path / "long", [[list(range(30_000))]])
    show = f"{sys.executable} -m codedata show --json {long}"
    gone, never_there = f"{show} | head -c 2; echo ${{PIPESTATUS[0]}}", f"{show} >&-; echo $?"
    for line, said in ((gone, '{"141\n'), (never_there, "0\n")):
        command = ["bash", "-c", line]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (said, "")


def test_a_full_disk_behind_stdout_is_said_in_one_line(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [[[1, 2, 3, 4]]])
    command = [sys.executable, "-m", "codedata", "verify", str(folder)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("codedata: error: ")
    assert "No space left" in line


@pytest.mark.parametrize("where", ["before", "after"])
def test_verbose_shows_where_a_refusal_comes_from_and_quiet_leaves_it_one_line(
    where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(switch: str) -> list[str]:
        command = ["show", "/no/such"]
        assert main([switch, *command] if where == "before" else [*command, switch]) == 1
        return capsys.readouterr().err.splitlines()

    [line] = said("-q")
    assert line.startswith("codedata: error: /no/such ")
    assert "Traceback (most recent call last):" in said("-v")
    assert said("-v")[-1] == line


def test_show_and_verify_import_neither_dagster_nor_torch(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [[[1, 2, 3, 4]]])
    code = (
        "import sys; from codedata.cli import main; "
        "status = [main(['verify', sys.argv[1]]), main(['show', sys.argv[1]])]; "
        "print(status, {'dagster', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[0, 0] set()"
