"""A user as containers have them: no name, no HOME, and no folder for caches."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from codedata.io.dataset_folder import open_dataset
from codedata_tests import scenario

UID = "12345"
CAPABILITY = "+dac_read_search"
"""To read the interpreter and the package, wherever they lie; it lets nothing be written."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root on Linux, with setpriv, may become a user without a name",
)


@pytest.fixture
def work() -> Iterator[Path]:
    """A working folder of that user's; pytest's own ones lie where nobody else is let through."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, int(UID), int(UID))
        yield Path(folder)


def run_nameless(
    folder: Path, *arguments: str | Path, **variables: str | Path
) -> subprocess.CompletedProcess[str]:
    """Python as a user without a name, with the variables alone and no folder but this one."""
    become = ["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups"]
    become += ["--inh-caps", CAPABILITY, "--ambient-caps", CAPABILITY]
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [*become, sys.executable, *arguments],
        env=environment | {name: str(value) for name, value in variables.items()},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_script_and_materialize_need_neither_a_name_nor_a_home(
    work: Path, corpus: Path, tmp_path: Path
) -> None:
    # A structure that the library tokenizes: the compiled engine would take its seconds anew.
    tokenizer = scenario.train_tokenizer(
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Punctuation(),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    )
    folder = scenario.save_tokenizer(tokenizer, tmp_path / "tokenizer")
    pad = str(tokenizer.token_to_id(scenario.PAD))
    switches = {"seq_length": "64", "min_sample_length": "10", "pad_token": pad}
    switches |= {"chars_to_tokenize": "50000", "chunk_size": "30000"}
    script = ["-m", "codedata.tokenize_data", "--tokenizer_base", folder, "--data_file", corpus]
    of_script = [part for name, value in switches.items() for part in (f"--{name}", value)]
    done = run_nameless(work, *script, "--tokenization_folder", "by_script", *of_script)
    assert done.returncode == 0, done.stderr
    assert "home" not in done.stderr
    of_split = {f"CODEDATA_TRAIN_{name.upper()}": value for name, value in switches.items()}
    done = run_nameless(
        work,
        *("-W", "ignore", "-m", "codedata.cli", "materialize", "train"),
        CODEDATA_CORPUS=corpus,
        CODEDATA_TOKENIZER=folder,
        **of_split,
    )
    assert done.returncode == 0, done.stderr
    lines = re.split(r"[\r\n]+", done.stderr.strip())
    assert len([line for line in lines if not line.startswith("Tokenizing")]) <= 2, lines
    made = open_dataset(work / "data/datasets/train")
    assert made.digest == open_dataset(work / "by_script").digest
    assert "~" not in os.listdir(work), "no folder is made for a home that there is not"


@pytest.mark.parametrize("variables", [{}, {"HOME": "/nonexistent"}], ids=["no home", "none there"])
def test_compiled_code_that_no_folder_keeps_is_said_once(
    variables: dict[str, str], work: Path
) -> None:
    code = "import codedata.tokenization.kernels, codedata.reporting.shingles"
    done = run_nameless(work, "-c", code, NUMBA_CACHE_DIR="/nonexistent/too", **variables)
    assert done.returncode == 0, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("compiling in every process anew: ")
    assert os.listdir(work) == []


def test_the_hub_s_cache_needs_a_folder_that_is_named(work: Path) -> None:
    code = "from codedata.tokenization.loading import find_tokenizer; find_tokenizer('a/b')"
    done = run_nameless(work, "-c", code)
    assert "(HF_HOME) is '~/.cache/huggingface/hub', but ~ has no home directory" in done.stderr
    assert os.listdir(work) == []
