"""docs/training.md: its Python is one program that runs, its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

from codedata.cli import build_parser
from codedata.export.exporting import FORMATS
from codedata_tests.demo import Demo

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_page_s_python_runs_on_the_demo(demo: Demo, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 8
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        env={**demo.environment, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert "the checkpoint was trained on " in done.stdout


def test_the_page_s_commands_exist() -> None:
    commands = re.findall(r"^(?:python|torchrun) .*?(examples/\S+)", PAGE, re.MULTILINE)
    assert len(commands) == 3
    assert all((ROOT / path).is_file() for path in commands)
    [export] = re.findall(r"^codedata (export .*)$", PAGE, re.MULTILINE)
    build_parser().parse_args(export.split())
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(FORMATS)
