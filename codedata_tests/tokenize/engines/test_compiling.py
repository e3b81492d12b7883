"""What the first run on a machine says while it compiles, and what numba then loads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codedata_tests import scenario

CODE = """\
import numba
import numpy as np
from codedata.tokenize.engines.kernels import word_at
made = {"__builtins__": __builtins__}
exec("def of_no_module(x): return x", made)
assert numba.njit(made["of_no_module"])(1) == 1, "others compile, too"
print(word_at(np.arange(16, dtype=np.uint8), 1, 2), word_at(np.zeros(16, np.uint8), 1, 8))
"""


def test_compiling_is_said_once_and_loading_what_is_compiled_is_not(tmp_path: Path) -> None:
    def stderr() -> str:
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "513 0\n"
        return done.stderr

    assert stderr() == "compiling what is fast, once on this machine: some seconds\n"
    assert stderr() == ""


TOKENIZES_THEN_COMPILES = """\
import sys
import numba
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

def llvm_kib():
    found, is_code = 0, False
    with open("/proc/self/smaps") as file:
        for line in file:
            if "-" in line.split()[0]:
                is_code = " r-xp " in line and "libllvmlite" in line
            found += int(line.split()[1]) if is_code and line.startswith("Rss:") else 0
    return found

engine = choose_engine(load_tokenizer(find_tokenizer(sys.argv[1])), "pretokens")
engine.encode(as_utf8("int x = 1;"), threads=1)
print(llvm_kib() if sys.platform == "linux" else 0)
print("tokenized")
numba.njit(lambda x: x)(1)
print(llvm_kib() if sys.platform == "linux" else 10_000)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a process prints that tokenizes, with an extension installed, and then compiles."""
    installed = tmp_path_factory.mktemp("installed")
    folder = scenario.save_tokenizer(
        scenario.train_tokenizer(scenario.deepseek_like()), installed / "tokenizer"
    )
    (installed / "my_extension.py").write_text("def load():\n    print('extension')\n")
    about = installed / "my_extension-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-extension\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[numba_extensions]\ninit = my_extension:load\n")
    return subprocess.check_output(
        [sys.executable, "-c", TOKENIZES_THEN_COMPILES, folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path])},
        text=True,
    ).splitlines()


def test_numba_loads_extensions_of_others_for_others_alone(said: list[str]) -> None:
    assert said[1:-1] == ["tokenized", "extension"]


def test_the_code_of_llvm_is_in_memory_while_it_compiles_or_loads_and_no_longer(
    said: list[str],
) -> None:
    assert int(said[0]) < 4_000 < int(said[-1])
