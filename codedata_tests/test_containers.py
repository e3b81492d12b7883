"""A user as containers have them: no name, no HOME, and no folder for caches."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codedata.store.dataset_folder import open_dataset
from codedata_tests.users import folder_of, needs_root, run_as, save_plain_tokenizer

UID = 12345

pytestmark = needs_root


@pytest.fixture
def work() -> Iterator[Path]:
    """The working folder of that user."""
    with folder_of(UID, UID, 0o700) as folder:
        yield folder


def test_the_script_and_materialize_need_neither_a_name_nor_a_home(
    work: Path, corpus: Path, tmp_path: Path
) -> None:
    folder, switches = save_plain_tokenizer(tmp_path / "tokenizer")
    script = ["-m", "codedata.tokenize_data", "--tokenizer_base", folder, "--data_file", corpus]
    of_script = [part for name, value in switches.items() for part in (f"--{name}", value)]
    done = run_as(UID, work, *script, "--tokenization_folder", "by_script", *of_script)
    assert done.returncode == 0, done.stderr
    assert "home" not in done.stderr
    of_split = {f"CODEDATA_TRAIN_{name.upper()}": value for name, value in switches.items()}
    of_split |= {"CODEDATA_CORPUS": str(corpus), "CODEDATA_TOKENIZER": str(folder)}
    done = run_as(
        UID,
        work,
        *("-W", "ignore", "-m", "codedata.cli", "materialize", "train"),
        variables=of_split,
    )
    assert done.returncode == 0, done.stderr
    lines = re.split(r"[\r\n]+", done.stderr.strip())
    told = [line for line in lines if not line.startswith(("Tokenizing", "train: AutoTokenizer"))]
    assert len(told) <= 2, lines
    made = open_dataset(work / "data/datasets/train")
    assert made.digest == open_dataset(work / "by_script").digest
    assert "~" not in os.listdir(work), "no folder is made for a home that there is not"


def test_compiled_code_that_no_folder_keeps_is_said_once_and_the_hub_s_cache_needs_a_name(
    work: Path,
) -> None:
    code = (
        "import codedata.tokenize.engines.kernels, codedata.reporting.shingles\n"
        "from codedata.tokenize.tokenizer_files import find_tokenizer; find_tokenizer('a/b')"
    )
    done = run_as(UID, work, "-c", code, variables={"NUMBA_CACHE_DIR": "/nonexistent/too"})
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("compiling in every process anew: ")
    assert done.stderr.count("compiling in every process anew: ") == 1
    assert "(HF_HOME) is '~/.cache/huggingface/hub', but ~ has no home directory" in last
    assert os.listdir(work) == []
