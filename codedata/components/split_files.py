"""What the `files` of a split say -> the numbers of its corpus's files, or a refusal."""

import re
from collections.abc import Sequence

from codedata.components.raw_corpus import RawCorpus
from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata.recipe.settings import ALL
from codedata.run.checks import KNOWN_REPO
from codedata.sources.paths import MAX_FILES

_FILES = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def is_reference(corpus: RawCorpus | None) -> bool:
    """Whether a corpus is the reference's, The Stack, or defined elsewhere and may be.

    Of it, what a YAML leaves out is what the reference script takes; of others it is all.
    """
    return corpus is None or getattr(corpus.typed_source, "repo", None) == KNOWN_REPO


def file_numbers(split: str, files: str | int) -> tuple[int, ...]:
    """The files that numbers and ranges name, in order.

    Args:
        split: whose they are, for messages.
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
                f"files of split {split!r} is {files!r}; write numbers and ranges of 0 to "
                f"{MAX_FILES - 1}, the smaller first, such as 0-255 or 0-9,12, or {ALL}"
            )
        numbers |= set(range(first, last + 1))
    return tuple(sorted(numbers))


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
