"""What a split says of its corpora's files -> their numbers, or a refusal."""

import re
from collections.abc import Sequence

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator

from codedata.components.raw_corpus import RawCorpus
from codedata.errors import SettingsError
from codedata.format.ranges import CharRange
from codedata.layout import NAME_REMEDY, Layout, is_name
from codedata.recipe.judging import no_truth
from codedata.recipe.settings import ALL, SWITCHES
from codedata.run.checks import KNOWN_REPO
from codedata.sources.paths import MAX_FILES

_FILES = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


class CorpusOfSplit(dg.Resolvable, dg.Model):
    """One of the corpora of a split."""

    name: str = Field(description="Name of the corpus.")
    files: str | int | None = Field(
        default=None, description="Which of its files; by default as the split's files say."
    )
    chars: int | str | None = Field(
        default=None,
        description="Characters of each of its files, or all; by default as the split's "
        "chars_to_tokenize says.",
    )

    @field_validator("name", "files", "chars", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, info: ValidationInfo) -> object:
        return no_truth(info.field_name or "", value)

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not is_name(name):
            raise SettingsError(
                f"a corpus of corpora is named {name!r}; write it with {NAME_REMEDY}: it names "
                "assets and folders"
            )
        return name

    @field_validator("files")
    @classmethod
    def _are_files(cls, files: str | int | None, info: ValidationInfo) -> str | int | None:
        if files not in (None, ALL):
            file_numbers(f"corpus {info.data.get('name')!r}", files)
        return files

    @field_validator("chars")
    @classmethod
    def _is_how_many(cls, chars: int | str | None, info: ValidationInfo) -> int | str | None:
        if chars is not None and (why := SWITCHES["chars_to_tokenize"].why_not(chars)):
            raise SettingsError(f"chars of corpus {info.data.get('name')!r}: {why}")
        return chars


def is_reference(corpus: RawCorpus | None) -> bool:
    """Whether a corpus is the reference's, The Stack, or defined elsewhere and may be.

    Of it, what a YAML leaves out is what the reference script takes; of others it is all.
    """
    return corpus is None or getattr(corpus.typed_source, "repo", None) == KNOWN_REPO


def file_numbers(of: str, files: str | int) -> tuple[int, ...]:
    """The files that numbers and ranges name, in order.

    Args:
        of: whose they are, for messages, such as `split 'train'`.
        files: such as `0-9,12`.

    Raises:
        SettingsError: they are written otherwise.
    """
    numbers: set[int] = set()
    for part in str(files).replace(" ", "").split(","):
        found = _FILES.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < MAX_FILES:
            raise SettingsError(
                f"files of {of} is {files!r}; write numbers and ranges of 0 to "
                f"{MAX_FILES - 1}, the smaller first, such as 0-255 or 0-9,12, or {ALL}"
            )
        numbers |= set(range(first, last + 1))
    return tuple(sorted(numbers))


def files_among(
    split: str, name: str, corpus: RawCorpus | None, files: str | int
) -> tuple[int, ...]:
    """The files of a corpus that a split takes, in order.

    Args:
        split: its name.
        name: the corpus's.
        corpus: its component; None where another code location has it.
        files: what the YAML says.

    Raises:
        SettingsError: they are written otherwise, or the corpus has no such files.
    """
    if files == ALL:
        if corpus is None:
            raise SettingsError(
                f"files of split {split!r} is 'all', but no corpus {name!r} is defined here that "
                "would say how many it has; write them as numbers, such as 0-255"
            )
        return tuple(range(corpus.num_files))
    numbers = file_numbers(f"split {split!r}", files)
    if corpus is not None and numbers[-1] >= corpus.num_files:
        raise SettingsError(
            f"files of split {split!r} is {files!r}, but corpus {name!r} has "
            f"{corpus.num_files}: name 0 to {corpus.num_files - 1}"
        )
    return numbers


def require_fetched(split: str, corpus: RawCorpus, window: CharRange) -> None:
    """Refuse a window beyond the characters that a corpus fetches of each file.

    Raises:
        SettingsError: it goes on after them.
    """
    most = corpus.typed_source.num_chars
    stop = window.start + 1 if window.is_open else window.stop
    if most is not None and stop > most:
        raise SettingsError(
            f"split {split!r} takes characters up to {stop}, but of corpus {corpus.name!r} only "
            f"the first {most} are fetched; raise first_chars in its defs.yaml to {stop}, or take "
            "it out to have whole files"
        )


def must_say_which(split: str, corpus: RawCorpus, num_chars: int) -> SettingsError:
    """That a split has to say which files it takes, and what the two likely answers mean.

    Args:
        split: its name.
        corpus: of several files.
        num_chars: most characters that it takes of each.
    """
    num_bytes = corpus.bytes_known(Layout.from_environment())
    return SettingsError(
        f"split {split!r} does not say which files it takes of corpus {corpus.name!r}, which has "
        f"{corpus.num_files}; write files: {ALL} for up to {num_chars * corpus.num_files:,} "
        f"characters of {_bytes_of(num_bytes)}, or files: 0 for up to {num_chars:,} characters of "
        f"{_bytes_of(num_bytes[:1])}"
    )


def _bytes_of(sizes: Sequence[int | None]) -> str:
    """How many bytes files have, as far as it is known here."""
    known = [size for size in sizes if size is not None]
    if len(known) == len(sizes):
        return f"{sum(known):,} bytes"
    if not known:
        return "a number of bytes that is not known before they are here"
    return f"at least {sum(known):,} bytes ({len(known)} of {len(sizes)} files are here)"
