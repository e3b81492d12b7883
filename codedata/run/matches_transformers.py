"""A run's tokenizer and a sample of its text -> whether transformers gives the same ids.

Training code loads the tokenizer by AutoTokenizer, and some releases of transformers rebuild it
otherwise than its tokenizer.json says. So the installed one is tried, in a process of its own that
imports it beside the tokenization: two seconds of a core (`codedata.tokenize.transformers_child`
says what it does). The ids that it should give are the tokenizers library's, by the same files, for
the same text: what the ids of every chunk are compared with too. What keeps it from an answer is
told, and fails no run. An answer is kept in the cache folder: the same text is not tried again with
the same files and release.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import version
from os import environ, pathsep
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from codedata.errors import TokenizerError
from codedata.places import local_path
from codedata.printable import shortened
from codedata.run.checks import CheckOutcome
from codedata.run.plan import ChunkTask
from codedata.store.notes import read_note, write_note
from codedata.tokenize import transformers_child
from codedata.tokenize.engines.base import reference_ids
from codedata.tokenize.probe import PROBE
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_JSON, TokenizerFiles
from codedata.tokenize.transformers_child import LOCAL_NAME, OTHER_FILES

T = TypeVar("T")

STRETCH_CHARS = 8_192
"""Of each of three chunks: 10 ms of work for either side."""

PATIENCE_SECONDS = 30
"""For an answer, once it is waited for: fifteen times what it takes."""

_NOTES = "transformers-2"


def spread(items: Sequence[T]) -> list[T]:
    """The first, the middle and the last of some things; nothing of nothing."""
    return [items[number * (len(items) - 1) // 2] for number in range(3 if items else 0)]


def sample_of(tasks: Sequence[ChunkTask]) -> list[tuple[str, str]]:
    """Names and texts: the built-in one, some of the first chunk, the middle one, the last one."""
    sample = [("codedata's own sample of C", PROBE)]
    for number, task in enumerate(spread(tasks)):
        chars = task.chars
        start = chars.start + max(0, chars.num_chars - STRETCH_CHARS) * number // 2
        some = chars._replace(start=start).first(STRETCH_CHARS)
        name = f"{task.text.path}, characters {some.start} to {some.stop}"
        sample.append((name, task.text.read(some)))
    return sample


class TransformersCheck:
    """A comparison, begun beside a run and finished when the run has nothing else to do.

    Args:
        files: the tokenizer's.
        about: what decides the sample's text, and is known before that is read.

    Attributes:
        known: the outcome, where nothing has to be compared.
    """

    def __init__(self, files: TokenizerFiles, about: Iterable[str]) -> None:
        self.files = files
        self._note = _note_of(files, about)
        self._begun = ExitStack()
        self.known = _noted(read_note(_NOTES, self._note))
        if self.known is None:
            try:
                self._process = self._start()
            except OSError as error:
                self.close()
                self.known = not_compared(f"no process can be started for it: {error}")

    def _start(self) -> subprocess.Popen[bytes]:
        """The process, importing transformers from the start."""
        files = {
            TOKENIZER_JSON: self.files.tokenizer_json,
            TOKENIZER_CONFIG: self.files.tokenizer_config,
            **{path.name: path for path in _files_beside(self.files)},
        }
        temporary = TemporaryDirectory(prefix="codedata-", ignore_cleanup_errors=True)
        arguments = [self._begun.enter_context(temporary), LOCAL_NAME]
        if self.files.revision:
            arguments[1:] = [self.files.source.partition("@")[0], self.files.revision]
        folder = Path(*arguments[:2])
        folder.mkdir(parents=True)
        for name, path in files.items():
            if path is not None:
                (folder / name).symlink_to(path.resolve())
        process = subprocess.Popen(  # noqa: S603  (this interpreter, this package)
            # What this process imports is imported, and -P: nothing of the working folder.
            [sys.executable, "-P", "-m", transformers_child.__name__, *arguments],
            env={**environ, "PYTHONPATH": pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._begun.enter_context(process)
        self._begun.callback(process.kill)
        return process

    def close(self) -> None:
        """Stop what goes on, and remove what lies there for it."""
        self._begun.close()

    def compare(
        self, sample: Sequence[tuple[str, str]], *, has_documents: bool = False
    ) -> CheckOutcome:
        """Have a sample compared, and wait for the answer.

        Args:
            sample: names and texts.
            has_documents: whether a recipe says how they are framed, not the tokenizer.
        """
        loaded = load_tokenizer(self.files)

        def ids_of(text: str) -> list[int]:
            if has_documents:
                return loaded.tokenizer.encode(text, add_special_tokens=False).ids
            return reference_ids(loaded, text)

        try:
            texts = [(name, text, ids_of(text)) for name, text in sample]
        except TokenizerError as error:
            return not_compared(str(error))
        answer = self.ask({"texts": texts, "has_documents": has_documents})
        outcome = CheckOutcome(**answer["outcome"])
        if answer["is_final"]:
            write_note(_NOTES, self._note, asdict(outcome))
        return outcome

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Give the process its job, which `transformers_child` explains.

        Returns:
            Its answer, or, where it gives none, one that says why.
        """
        last = b""
        try:
            said, _ = self._process.communicate(json.dumps(job).encode(), PATIENCE_SECONDS)
            last = (said.rstrip().splitlines() or [b""])[-1]
            return json.loads(last)
        except subprocess.TimeoutExpired:
            why = f"no answer within {PATIENCE_SECONDS} s"
        except ValueError:
            told = shortened(last.decode(errors="replace").strip())
            why = f"its process ended with {self._process.returncode}: {told}"
        return {"outcome": asdict(not_compared(why)), "is_final": False}


def _noted(found: Any) -> CheckOutcome | None:
    """The outcome that a note has; None where there is none, or one of another shape."""
    try:
        return CheckOutcome(**found)
    except TypeError:
        return None


def not_compared(why: str) -> CheckOutcome:
    """That nothing is known, and why."""
    return CheckOutcome(**transformers_child.not_compared(why))


def _note_of(files: TokenizerFiles, about: Iterable[str]) -> str:
    """The name of the note that keeps the outcome."""
    what = [
        *(version(package) for package in ("codedata", "transformers", "tokenizers")),
        files.fingerprint,
        *([files.source, files.revision] if files.revision else []),
        *(f"{path.name} {sha256(path.read_bytes()).hexdigest()}" for path in _files_beside(files)),
        *about,
    ]
    return sha256(json.dumps(what).encode()).hexdigest()


def _files_beside(files: TokenizerFiles) -> list[Path]:
    """What else transformers reads of a tokenizer's folder; of the hub's, nothing is known yet."""
    if files.revision is not None or not local_path(files.source, "tokenizer").is_dir():
        return []
    folder = files.tokenizer_json.parent
    return [path for name in OTHER_FILES if (path := folder / name).is_file()]
