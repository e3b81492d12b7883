"""What the first run on a machine says while it compiles."""

import os
import subprocess
import sys
from pathlib import Path

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
