"""The leading text of a parquet of the hub, a small ordinary parquet a row group.

    <corpus folder>/parts/<etag>/<group>-<sha256>.parquet   the column `content` of a row group

A part is known by the hash of the file it is of, whatever the commit, and by that of its own bytes,
each by its first digits: what lies there whole after a kill is there, and whoever opens it hashes
it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.sources.parquet.decode import Batch, decode
from codedata.sources.parquet.footer import Parquet
from codedata.sources.parquet.index import Counts, TextIndex
from codedata.sources.parquet.text import ParquetText, sha256_once

DIGITS = 16
"""Of a hash, in a name: damage is found, and nobody's paths are long."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A row group that is here.

    Attributes:
        name: of its file.
        num_bytes: of its file.
        num_chars: characters of the documents, a space after each included.
        num_documents: contents that are not null.
        num_nulls: null contents.
    """

    name: str
    num_bytes: int
    num_chars: int
    num_documents: int
    num_nulls: int


def part_name(group: int, sha256: str) -> str:
    """The name of a part's file."""
    return f"{group:05d}-{sha256[:DIGITS]}.parquet"


def is_whole(part: Path) -> bool:
    """Whether a part's file is there, and has the hash that is in its name."""
    return part.is_file() and part.name[6:] == part_name(0, sha256_once(part))[6:]


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """The leading text of a parquet.

    Attributes:
        fingerprint: sha256 over what it is a part of and its row groups; the same wherever and
            however the bytes were fetched.
        num_chars: characters that may be used.
        ends_here: whether the text has no more than those.
        etag: hash of the whole parquet.
        file_bytes: its size.
        num_groups: its row groups.
        columns: its columns, type by name.
        parts: its leading row groups that hold the characters.
    """

    fingerprint: str
    num_chars: int
    ends_here: bool
    etag: str
    file_bytes: int
    num_groups: int
    columns: dict[str, str]
    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes that are here."""
        return sum(part.num_bytes for part in self.parts)


def fingerprint_of(commit: str, path: str, etag: str, num_groups: int) -> str:
    """What identifies a text of leading row groups: stored chunks are known by it."""
    return hashlib.sha256(json.dumps([commit, path, etag, num_groups]).encode()).hexdigest()


class LeadingText(ParquetText):
    """The text of parts: see `ParquetText`.

    Args:
        folder: with the parts.
        part: what they are.

    Attributes:
        sha256: the fingerprint.
        num_bytes: of the whole parquet.

    Raises:
        CorpusError: a part is missing, or not as it was fetched.
    """

    def __init__(self, folder: Path, part: TextPart) -> None:
        self.path, self.part = folder, part
        for each in part.parts:
            if not is_whole(folder / each.name):
                raise CorpusError(
                    f"{folder / each.name} is not as it was fetched; materialize its corpus again, "
                    "which fetches that part anew"
                )
        self._parquets = [Parquet(folder / each.name) for each in part.parts]
        self.num_bytes, self.columns, self.sha256 = part.file_bytes, part.columns, part.fingerprint
        self.group_rows = [each.num_documents + each.num_nulls for each in part.parts]
        self.index = TextIndex(
            groups=[Counts(p.num_chars, p.num_documents, p.num_nulls) for p in part.parts]
        )
        self._forget()

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has.

        Raises:
            CorpusError: the text is empty, or ends before the window starts, or not as much of it
                was fetched.
        """
        if not self.part.ends_here and window.stop > self.part.num_chars:
            raise CorpusError(
                f"characters {window.start} to {window.stop} are asked for, but of the text of "
                f"{self.path} only the first {self.part.num_chars} were fetched; raise first_chars "
                f"of its corpus to {window.stop}, or leave it out to have the whole file"
            )
        return super().clip(window)

    def _decode(self, groups: Sequence[int]) -> Iterator[Batch]:
        first_rows = [*accumulate(self.group_rows, initial=0)]
        for group in groups:
            parquet = self._parquets[group]
            for batch in decode(parquet, parquet.footer.groups):
                yield batch._replace(first_row=first_rows[group] + batch.first_row)

    def _count_to(self, stop: int) -> None:
        """All parts are counted."""
