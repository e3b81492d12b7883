"""A tokenizer's files -> the other process that loads them by AutoTokenizer, and its answer.

What that process does, and what the two write for each other, is told in `transformers_child`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from os import environ, pathsep
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codedata.places import local_path
from codedata.printable import shortened
from codedata.tokenize import transformers_child
from codedata.tokenize.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_JSON, TokenizerFiles
from codedata.tokenize.transformers_child import LOCAL_NAME, OTHER_FILES

PATIENCE_SECONDS = 30
"""For an answer, once it is waited for: fifteen times what it takes."""

_ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",  # the cores are the run's
    "TRANSFORMERS_VERBOSITY": "error",
}


class NoAnswerError(Exception):
    """Why the other process gave no answer."""


def files_beside(tokenizer: TokenizerFiles) -> list[Path]:
    """What else transformers reads of a tokenizer's folder; of the hub's, nothing is known yet."""
    if tokenizer.revision is not None or not local_path(tokenizer.source, "tokenizer").is_dir():
        return []
    folder = tokenizer.tokenizer_json.parent
    return [path for name in OTHER_FILES if (path := folder / name).is_file()]


class TransformersProcess:
    """The process, importing transformers from the start, to be stopped in any case.

    Args:
        tokenizer: its files.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, tokenizer: TokenizerFiles) -> None:
        self._folder = TemporaryDirectory(prefix="codedata-", ignore_cleanup_errors=True)
        of_hub = [tokenizer.source.partition("@")[0], tokenizer.revision or ""]
        arguments = [self._folder.name, *(of_hub if tokenizer.revision else [LOCAL_NAME])]
        files = {TOKENIZER_JSON: tokenizer.tokenizer_json}
        if tokenizer.tokenizer_config is not None:
            files[TOKENIZER_CONFIG] = tokenizer.tokenizer_config
        files |= {path.name: path for path in files_beside(tokenizer)}
        try:
            folder = Path(*arguments[:2])
            folder.mkdir(parents=True)
            for name, path in files.items():
                (folder / name).symlink_to(path.resolve())
            self._process = subprocess.Popen(  # noqa: S603  (this interpreter, this package)
                # What this process imports is imported, and -P: nothing of the working folder.
                [sys.executable, "-P", "-m", transformers_child.__name__, *arguments],
                env={**environ, **_ENVIRONMENT, "PYTHONPATH": pathsep.join(sys.path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except BaseException:
            self._folder.cleanup()
            raise

    def ask(self, job: Sequence[tuple[str, Sequence[int]]]) -> dict[str, Any]:
        """Give it texts, each with the ids that it should have, and wait for the answer.

        Raises:
            NoAnswerError: it ends without one, or takes too long.
        """
        try:
            said, _ = self._process.communicate(json.dumps(job).encode(), PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NoAnswerError(f"no answer within {PATIENCE_SECONDS} s") from error
        last = next((line for line in reversed(said.splitlines()) if line.strip()), b"")
        try:
            return json.loads(last)
        except ValueError as error:
            told = shortened(last.decode(errors="replace").strip())
            status = self._process.returncode
            raise NoAnswerError(f"its process ended with {status}: {told}") from error

    def stop(self) -> None:
        """End it, whatever it does, and remove what lies there for it."""
        with self._process:
            self._process.kill()
        self._folder.cleanup()
