"""A tokenizer -> what a user gets of it: structure, framing, ids with their texts, speed.

What a run would refuse is told here too, as what was found. Speed is measured on text that no table
has seen: some other text is tokenized first, as the chunks before are in a run, and all ids are
compared with the tokenizers library's, which get the same text as one string.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from codedata.errors import ExactnessError, TokenizerError
from codedata.format.ranges import CharRange
from codedata.parallel import available_cores
from codedata.printable import printable
from codedata.sources.folders import header_folders, walk_folders
from codedata.sources.languages import with_extensions
from codedata.sources.parquet.text import ParquetText
from codedata.tokenize.agreement import first_difference
from codedata.tokenize.engines.base import (
    Engine,
    as_utf8,
    constant_frame,
    missing_frame,
    reference_ids,
)
from codedata.tokenize.fidelity import SAMPLE_CHARS, check_fidelity, lost_text
from codedata.tokenize.probe import PROBE
from codedata.tokenize.structure import framing_is_constant
from codedata.tokenize.tokenizer import LoadedTokenizer

_HEADERS_OF, _HEADERS = ("numpy", "pyarrow"), with_extensions(["h", "hpp"])
"""5 MB of C and C++ that codedata's own dependencies bring along."""

_CHARS_BEFORE, _TIMED_CHARS = 1_000_000, 2_000_000
"""Of a text: what is tokenized first, and what is timed, a second or two of the library's work. Of
a shorter text, as large a part."""

_SHOWN_CHARS = 600
"""Of a value of tokenizer.json; the longest regex in use has 360."""

BUILT_IN = "codedata's sample of C"

Framing = list[tuple[int, str]]
"""Ids, and what asks for each."""


@dataclass(frozen=True, kw_only=True)
class SpeedText:
    """What speed is measured on.

    Attributes:
        what: it is, for the line that says so.
        text: of which the last two thirds are timed.
    """

    what: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Speed:
    """An engine and `encode` of the tokenizers library on the same text.

    Attributes:
        num_bytes: of the text, as UTF-8.
        num_tokens: that both gave.
        threads: that the engine might use; `encode` of one string uses one.
        engine_seconds: of the clock on the wall.
        encode_seconds: likewise.
    """

    num_bytes: int
    num_tokens: int
    threads: int
    engine_seconds: float
    encode_seconds: float

    @property
    def engine_rate(self) -> float:
        """In bytes a second."""
        return self.num_bytes / self.engine_seconds

    @property
    def encode_rate(self) -> float:
        """In bytes a second."""
        return self.num_bytes / self.encode_seconds

    @property
    def ratio(self) -> float:
        """How many times faster the engine is."""
        return self.encode_seconds / self.engine_seconds


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What is looked at only when it is asked for.

    Attributes:
        loaded: the tokenizer.
        engine: that a run would use.
        not_proven: the engines asked before it, each with what is against it.
        text: whose ids are shown; None is codedata's own sample of C.
        speed_text: what speed is measured on.
    """

    loaded: LoadedTokenizer
    engine: Engine
    not_proven: list[tuple[str, str]]
    text: str | None
    speed_text: SpeedText

    @cached_property
    def framing(self) -> tuple[Framing, Framing] | None:
        """The ids before and after the text of every chunk; None where they are not the same."""
        if not framing_is_constant(self.loaded.structure):
            return None
        before, after = constant_frame(self.loaded.tokenizer)
        first, last = missing_frame(self.loaded, [*before, *after])
        return (
            [(each, "add_bos_token") for each in first]
            + [(each, "post_processor") for each in before],
            [(each, "post_processor") for each in after]
            + [(each, "add_eos_token") for each in last],
        )

    @cached_property
    def steps(self) -> list[tuple[list[int], str]]:
        """The ids of the text as a chunk of its own, and what text each decodes to."""
        tokenizer = self.loaded.tokenizer
        ids = self.engine.encode(as_utf8(PROBE if self.text is None else self.text)).ids.tolist()
        return [
            (each, text or tokenizer.decode(each, skip_special_tokens=False))
            for each, text in tokenizer.decode_steps(ids)
        ]

    @property
    def samples(self) -> list[tuple[str, str]]:
        """The texts that are decoded again, and what each is."""
        start = self.speed_text.text[:SAMPLE_CHARS]
        shown = [] if self.text is None else [(self.text, "the text")]
        return [(PROBE, BUILT_IN), *shown, (start, f"the start of {self.speed_text.what}")]

    @cached_property
    def lost(self) -> list[str]:
        """Of each text that does not come back, the first place where it does not."""
        found = (lost_text(self.loaded, text, what) for text, what in self.samples)
        return [each for each in found if each is not None]

    @cached_property
    def not_given_back(self) -> list[str]:
        """Characters of these texts that are no loss: added tokens that decode to others."""
        tokenizer, texts = self.loaded.tokenizer, "".join(text for text, _ in self.samples)
        return [
            token.content
            for token_id, token in sorted(tokenizer.get_added_tokens_decoder().items())
            if len(token.content) == 1
            and token.content in texts
            and tokenizer.decode([token_id], skip_special_tokens=False) != token.content
        ]

    @cached_property
    def refusal(self) -> str | None:
        """Why a run would refuse the tokenizer, going by these texts."""
        try:
            for text, what in self.samples[1:]:
                check_fidelity(self.loaded, self.engine, text, where=what)
        except TokenizerError as error:
            return str(error)
        return None

    @cached_property
    def speed(self) -> Speed:
        """How fast the engine is, once it has found out what it does in the background.

        Raises:
            ExactnessError: its ids are not the library's.
        """
        self.engine.settle()
        text, threads = self.speed_text.text, available_cores()
        start = len(text) * _CHARS_BEFORE // (_CHARS_BEFORE + _TIMED_CHARS)
        self.engine.encode(as_utf8(text[:start]), threads=threads)
        text = text[start:]
        utf8 = as_utf8(text)
        times = [time.perf_counter()]
        found = self.engine.encode(utf8, threads=threads).ids
        times.append(time.perf_counter())
        expected = reference_ids(self.loaded, text)
        times.append(time.perf_counter())
        if expected != found.tolist():
            raise ExactnessError(
                f"engine {self.engine.name!r} and {self.loaded.files.tokenizer_json} give "
                f"different ids for {self.speed_text.what}, from token "
                f"{first_difference(expected, found.tolist())} of {len(expected)} on; report "
                "this, and choose the engine 'whole' meanwhile"
            )
        return Speed(
            num_bytes=len(utf8),
            num_tokens=len(found),
            threads=threads,
            engine_seconds=times[1] - times[0],
            encode_seconds=times[2] - times[1],
        )


def speed_text(corpus: Path | None) -> SpeedText:
    """Some text to measure on: a parquet's start, or C and C++ that is installed.

    Raises:
        CorpusError: the parquet has no text, or nothing is installed.
    """
    num_chars = _CHARS_BEFORE + _TIMED_CHARS
    if corpus is not None:
        parquet = ParquetText(corpus)
        return SpeedText(what=str(corpus), text=parquet.read(parquet.clip(CharRange(0, num_chars))))
    text = ""
    for file in walk_folders(header_folders(_HEADERS_OF), _HEADERS).files:
        text += file.path.read_text(encoding="utf-8", errors="replace")
        if len(text) >= num_chars:
            break
    return SpeedText(
        what=f"the C and C++ headers of {' and '.join(_HEADERS_OF)}", text=text[:num_chars]
    )


def parts_of(part: object) -> list[str]:
    """A declared part of tokenizer.json, a line a step, those of sequences one after the other."""
    if not isinstance(part, dict):
        return [] if part is None else [_shown(part)]
    part = cast("dict[str, Any]", part)
    if part.get("type") != "Sequence":
        return [", ".join([str(part.get("type")), *_values(part)])]
    return [
        line
        for steps in part.values()
        if isinstance(steps, list)
        for step in cast("list[object]", steps)
        for line in parts_of(step)
    ]


def _values(part: dict[str, Any]) -> Iterator[str]:
    """What a step says of itself; what it has switched off is left out."""
    for key, value in part.items():
        if key == "type" or value is None or value is False or value == "":
            continue
        if value is True:
            yield key
        elif key in ("vocab", "merges"):
            yield f"{len(value):,} {key}"
        elif key == "pattern":
            yield from (f"{kind} {_shown(each)}" for kind, each in value.items())
        else:
            yield f"{key} {_shown(value)}"


def _shown(value: object) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    if len(text) > _SHOWN_CHARS:
        return f"of {len(text):,} characters"
    return f"'{text}'" if isinstance(value, str) else text
