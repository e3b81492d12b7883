"""The wheel, installed beside what is there: the demo, and a project, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OPEN = """\
import codedata, codedata.definitions
train = codedata.load_dataset("demo_train")
print(codedata.__file__, codedata.definitions.__file__, len(train), train.seq_length)
"""


def run(command: list[str | Path], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.campaign
@pytest.mark.timeout(1200)  # the engine is compiled anew beside the installed files
def test_the_wheel_runs_the_demo_and_a_project_of_one_s_own_in_an_empty_folder(
    tmp_path: Path,
) -> None:
    wheels, installed, folder = (tmp_path / name for name in ("wheels", "installed", "work"))
    folder.mkdir()
    python = sys.executable
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CODEDATA_", "DAGSTER_", "PYTHON"))
    }
    run([python, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels], environment, ROOT)
    [wheel] = wheels.iterdir()
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    run([*install, "--target", installed, wheel], environment, folder)
    assert (installed / "codedata" / "py.typed").exists(), "type checkers look for it"

    environment["PYTHONPATH"] = str(installed)  # goes before the clone
    splits = ["demo_train", "demo_validation"]
    made = run([installed / "bin" / "codedata", "materialize", *splits], environment, folder)
    assert [line.partition(":")[0] for line in made.splitlines()] == [
        f"{folder}/data/{place}"
        for split in splits
        for place in (f"datasets/{split}", f"reports/{split}.html")
    ]
    compiled = installed / "codedata" / "tokenize" / "engines" / "__pycache__"
    assert list(compiled.glob("kernels.*.nbc")), "the command ran the wheel's files"
    package, definitions, num_samples, seq_length = run(
        [python, "-W", "ignore", "-c", OPEN], environment, folder
    ).split()
    assert package == f"{installed}/codedata/__init__.py"
    assert definitions == f"{installed}/codedata/definitions.py"
    assert int(num_samples) > 5000
    assert seq_length == "1536"
    assert os.listdir(folder) == ["data"]

    said = run([installed / "bin" / "codedata", "init", "ours"], environment, folder)
    *_, materialize, train = said.splitlines()
    environment["CODEDATA_ROOT"] = str(folder / "data")  # with the chunks of before
    trained = run(["bash", "-euc", f"{materialize}\n{train}"], environment, folder)
    assert "step 20 loss " in trained
    assert "validation loss " in trained
