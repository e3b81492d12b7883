"""`codedata materialize`: what it refuses, before any work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codedata.layout import ROOT_VARIABLE

ROOT = Path(__file__).parent.parent.parent

REFUSED_RUNS = {
    "a switch out of its range": (
        {"CODEDATA_DEMO_TRAIN_SEQ_LENGTH": "0"},
        r"seq_length must be .*, not 0; CODEDATA_DEMO_TRAIN_SEQ_LENGTH sets seq_length: .*",
    ),
    "an overlapping held-out split": (
        {"CODEDATA_DEMO_VALIDATION_STARTING_CHARACTER": "0"},
        r"split 'demo_validation' is held out from 'demo_train', but characters 0 to 4000000 .*",
    ),
}


@pytest.mark.parametrize(("switches", "said"), REFUSED_RUNS.values(), ids=REFUSED_RUNS)
def test_materialize_refuses_in_one_line_before_any_work(
    switches: dict[str, str], said: str, tmp_path: Path
) -> None:
    home, root = tmp_path / "home", tmp_path / "root"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CODEDATA_")
    }
    environment |= {"DAGSTER_HOME": str(home), ROOT_VARIABLE: str(root), **switches}
    done = subprocess.run(
        [sys.executable, "-m", "codedata", "materialize", "demo_train"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,  # it takes one second on an idle machine
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.fullmatch(
        f"codedata: error: (?:.*defs.yaml:[0-9]+: )?{said}", done.stderr.splitlines()[-1]
    ), done.stderr
    assert not root.exists()
    assert os.listdir(home) == ["dagster.yaml"]
