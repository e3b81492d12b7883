"""A run's tokenizer and a sample of its text -> whether transformers gives the same ids.

Training code loads the tokenizer by AutoTokenizer, and some releases of transformers rebuild it
otherwise than its tokenizer.json says. So the installed one is tried, in a process of its own that
imports it beside the tokenization: two seconds of a core. The ids that it should give are the
tokenizers library's, by the same files, for the same text: what the ids of every chunk are compared
with too. What keeps it from an answer is told, and fails no run. An answer is kept in the cache
folder: the same text is not tried again with the same files and release.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from codedata.errors import TokenizerError
from codedata.places import cache_folder
from codedata.run.checks import CheckOutcome
from codedata.run.plan import ChunkTask
from codedata.store.files import replace_atomically
from codedata.tokenize.engines.base import reference_ids
from codedata.tokenize.probe import PROBE
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles
from codedata.tokenize.transformers_child import MODEL_CONFIG
from codedata.tokenize.transformers_process import (
    NoAnswerError,
    TransformersProcess,
    files_beside,
)

T = TypeVar("T")

STRETCH_CHARS = 8_192
"""Of each of three chunks: 10 ms of work for either side."""


class Stretch(NamedTuple):
    """Some text to compare, and what it is, for messages."""

    name: str
    text: str


def spread(items: Sequence[T]) -> list[T]:
    """The first, the middle and the last of some things; nothing of nothing."""
    return [items[number * (len(items) - 1) // 2] for number in range(3 if items else 0)]


def sample_of(tasks: Sequence[ChunkTask]) -> list[Stretch]:
    """The built-in text, and some of the first chunk, the middle one and the last one."""
    sample = [Stretch("codedata's own sample of C", PROBE)]
    for number, task in enumerate(spread(tasks)):
        chars = task.chars
        start = chars.start + max(0, chars.num_chars - STRETCH_CHARS) * number // 2
        some = chars._replace(start=start).first(STRETCH_CHARS)
        name = f"{task.text.path}, characters {some.start} to {some.stop}"
        sample.append(Stretch(name, task.text.read(some)))
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
        self.known = _read_note(self._note)
        self._process: TransformersProcess | None = None
        if self.known is None:
            try:
                self._process = TransformersProcess(files)
            except OSError as error:
                self.known = not_compared(f"no process can be started for it: {error}")

    def close(self) -> None:
        """Stop what goes on."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def compare(self, sample: Sequence[Stretch]) -> CheckOutcome:
        """Have a sample compared, and wait for the answer."""
        assert self._process is not None
        loaded = load_tokenizer(self.files)
        try:
            job = [(each.text, reference_ids(loaded, each.text)) for each in sample]
            answer = self._process.ask(job)
        except (TokenizerError, NoAnswerError) as error:
            return not_compared(str(error))
        outcome = judge(answer, [each.name for each in sample])
        if answer["is_final"] and self._note is not None:
            with suppress(OSError):  # it is compared again next time
                self._note.parent.mkdir(parents=True, exist_ok=True)
                replace_atomically(self._note, json.dumps(asdict(outcome)).encode())
        return outcome


def judge(answer: Mapping[str, Any], names: Sequence[str]) -> CheckOutcome:
    """What is to be said of the other process's answer.

    It fails where ids of a text differ, and where that is not known for certain. That only the
    special tokens differ that frame a text is said, and fails nothing.

    Args:
        answer: see `transformers_child`.
        names: of the texts that it was asked about.
    """
    if own_code := answer["own_code"]:
        return not_compared(
            f"the tokenizer is code of its own (auto_map in {' and '.join(own_code)}), and that is "
            "never run here"
        )
    who = f"AutoTokenizer of transformers {answer['transformers']} ({answer['class']})"
    said = f"{who} gives the same ids"
    if answer["difference"] is not None:
        number, found = answer["difference"]
        said = (
            f"{who} gives other ids: in {names[number]}, from id {found['place']} on, "
            f"{found['found']}, where the dataset has {found['expected']}; load the tokenizer by "
            "PreTrainedTokenizerFast(tokenizer_file='tokenizer.json') where the dataset is used"
        )
    elif answer["framing"] is not None:
        (before, after), (own_before, own_after) = (
            answer["framing"][side] for side in ("expected", "found")
        )
        said += (
            f" for the text, but frames it otherwise: it puts {own_before} before and {own_after} "
            f"after it, and chunks of the dataset have {before} and {after}"
        )
    if answer["no_config"] is not None:
        said += (
            f"; but without {MODEL_CONFIG}, by which it chooses the tokenizer's class too: "
            f"{answer['no_config']}"
        )
    return CheckOutcome(
        passed=answer["difference"] is None and answer["no_config"] is None,
        description=said,
        numbers={
            "transformers": answer["transformers"],
            "class": answer["class"],
            "same frame": str(answer["framing"] is None),
        },
    )


def not_compared(why: str) -> CheckOutcome:
    """That nothing is known, and why."""
    release = _release("transformers")
    return CheckOutcome(
        passed=False,
        description=f"not compared with AutoTokenizer of transformers {release}: {why}",
        numbers={"transformers": release},
    )


def _note_of(files: TokenizerFiles, about: Iterable[str]) -> Path | None:
    """Where the outcome is kept; None where this user has no cache folder."""
    folder = cache_folder()
    if folder is None:
        return None
    what = [
        *(_release(package) for package in ("codedata", "transformers", "tokenizers")),
        files.fingerprint,
        *([files.source, files.revision] if files.revision else []),
        *(f"{path.name} {sha256(path.read_bytes()).hexdigest()}" for path in files_beside(files)),
        *about,
    ]
    return folder / "transformers-1" / f"{sha256(json.dumps(what).encode()).hexdigest()}.json"


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(none is installed)"


def _read_note(note: Path | None) -> CheckOutcome | None:
    try:
        return None if note is None else CheckOutcome(**json.loads(note.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
