"""Commands of users other than the one who runs the tests, which only root can start."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from codedata_tests import scenario

CAPABILITY = "+dac_read_search"
"""To read the interpreter and the package, wherever they lie; it lets nothing be written."""

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root on Linux, with setpriv, may become another user",
)


@contextmanager
def folder_of(uid: int, gid: int, mode: int) -> Iterator[Path]:
    """A folder of another user's; pytest's own ones lie where nobody else is let through."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, uid, gid)
        os.chmod(folder, mode)  # noqa: PTH101 - the string is what TemporaryDirectory gives
        yield Path(folder)


def run_as(
    uid: int,
    folder: Path,
    *arguments: str | Path,
    group: int | None = None,
    umask: int = 0o022,
    variables: Mapping[str, str | Path] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Python as a user without a name, with the variables alone and no folder but this one."""
    groups = ["--clear-groups"] if group is None else ["--groups", str(group)]
    become = ["setpriv", "--reuid", str(uid), "--regid", str(uid), *groups]
    become += ["--inh-caps", CAPABILITY, "--ambient-caps", CAPABILITY]
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [*become, sys.executable, *arguments],
        env=environment | {name: str(value) for name, value in (variables or {}).items()},
        cwd=folder,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )


def save_plain_tokenizer(folder: Path) -> tuple[Path, dict[str, str]]:
    """A tokenizer that the library itself applies, and the switches of small runs with it.

    The compiled engine would take its seconds anew in each process of a user without a cache.
    """
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = scenario.train_tokenizer(split)
    switches = {"seq_length": "64", "min_sample_length": "10", "chars_to_tokenize": "50000"}
    switches |= {"chunk_size": "30000", "pad_token": str(tokenizer.token_to_id(scenario.PAD))}
    return scenario.save_tokenizer(tokenizer, folder), switches
