"""What the first run on a machine says while it compiles, and what numba then loads."""

import os
import subprocess
import sys
from pathlib import Path

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


EXTENSION_CODE = """\
import sys
import numba
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
engine = choose_engine(load_tokenizer(find_tokenizer(sys.argv[1])), "pretokens")
engine.encode(as_utf8("int x = 1;"), threads=1)
print("tokenized")
numba.njit(lambda x: x)(1)
"""


def test_numba_loads_extensions_of_others_for_others_alone(tmp_path: Path) -> None:
    folder = scenario.save_tokenizer(
        scenario.train_tokenizer(scenario.deepseek_like()), tmp_path / "tokenizer"
    )
    (tmp_path / "my_extension.py").write_text("def load():\n    print('extension')\n")
    about = tmp_path / "my_extension-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-extension\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[numba_extensions]\ninit = my_extension:load\n")
    said = subprocess.check_output(
        [sys.executable, "-c", EXTENSION_CODE, folder],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        text=True,
    )
    assert said.splitlines() == ["tokenized", "extension"]
