"""`codedata completion`: what a shell that took the script offers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codedata.cli import main

COMPLETE = """\
source {script}
complete_last() {{
  COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
  _shtab_codedata
  echo "${{COMPREPLY[@]}}"
}}
complete_last codedata ve
complete_last codedata verify d
complete_last codedata export demo --to me
complete_last codedata show --tok
complete_last codedata tokenizer d
complete_last codedata materialize demo_t
"""


def test_bash_completes_commands_splits_folders_switches_and_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    for folder in ("datasets/demo_train", "datasets/other"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    (tmp_path / "work" / "downloaded").mkdir(parents=True)
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-c", COMPLETE.format(script=script)],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "verify",
        "downloaded demo_train",
        "megatron",
        "--tokenizer",
        "downloaded",
        "demo_train",
    ]
    assert done.stderr == ""


@pytest.mark.parametrize(("shell", "begins"), [("zsh", "#compdef codedata\n"), ("tcsh", "# AUTO")])
def test_other_shells_have_a_script_of_theirs(
    shell: str, begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert said.startswith(begins)
    assert "materialize" in said
