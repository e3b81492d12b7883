"""A tokenizer's files -> the other process that loads them by AutoTokenizer, and its answer.

What that process does, and what the two write for each other, is told in `transformers_child`.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from os import environ, pathsep
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codedata.places import local_path
from codedata.store.files import shortened
from codedata.tokenize import transformers_child
from codedata.tokenize.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_JSON, TokenizerFiles
from codedata.tokenize.transformers_child import ANSWER, JOB, LOCAL_NAME, OTHER_FILES

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
        self._top = Path(self._folder.name)
        of_hub = [tokenizer.source.partition("@")[0], tokenizer.revision or ""]
        arguments = [str(self._top), *(of_hub if tokenizer.revision else [LOCAL_NAME])]
        files = {TOKENIZER_JSON: tokenizer.tokenizer_json}
        if tokenizer.tokenizer_config is not None:
            files[TOKENIZER_CONFIG] = tokenizer.tokenizer_config
        files |= {path.name: path for path in files_beside(tokenizer)}
        try:
            folder = self._top / arguments[1]
            folder.mkdir(parents=True)
            for name, path in files.items():
                (folder / name).symlink_to(path.resolve())
            with open(self._top / "said", "wb") as said:
                self._process = subprocess.Popen(  # noqa: S603  (this interpreter, this package)
                    # What this process imports is imported, and -P: nothing of the working folder.
                    [sys.executable, "-P", "-m", transformers_child.__name__, *arguments],
                    env={**environ, **_ENVIRONMENT, "PYTHONPATH": pathsep.join(sys.path)},
                    stdin=subprocess.PIPE,
                    stdout=said,
                    stderr=said,
                )
        except BaseException:
            self._folder.cleanup()
            raise

    def ask(self, job: Sequence[tuple[str, Sequence[int]]]) -> None:
        """Give it texts, each with the ids that it should have.

        Raises:
            OSError: there is no room for them.
        """
        (self._top / JOB).write_text(json.dumps(job), encoding="utf-8")
        if self._process.stdin is not None:
            with suppress(BrokenPipeError), self._process.stdin as stdin:  # `answer` says why
                stdin.write(b"\n")

    def answer(self) -> dict[str, Any]:
        """Wait for the answer.

        Raises:
            NoAnswerError: it ended without one, or takes too long.
        """
        try:
            status = self._process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise NoAnswerError(f"no answer within {PATIENCE_SECONDS} s") from error
        try:
            return json.loads((self._top / ANSWER).read_bytes())
        except (OSError, ValueError) as error:
            said = (self._top / "said").read_text(encoding="utf-8", errors="replace").splitlines()
            last = next((line.strip() for line in reversed(said) if line.strip()), "")
            raise NoAnswerError(f"its process ended with {status}: {shortened(last)}") from error

    def stop(self) -> None:
        """End it, whatever it does, and remove what the two wrote."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._folder.cleanup()
