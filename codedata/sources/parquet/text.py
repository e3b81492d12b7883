"""A parquet's documents as one text, addressed in characters.

The text is the file's non-null contents in file order, joined by one space. Only the column
`content` is read, and of it only the row groups that hold the characters asked for, batch by
batch. The work is done in `codedata.sources.parquet`; here are the file's identity and the window.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.sources.documents import Documents
from codedata.sources.parquet import address
from codedata.sources.parquet.address import Utf8
from codedata.sources.parquet.decode import decode
from codedata.sources.parquet.footer import FileIdentity, Parquet, is_settled
from codedata.sources.parquet.index import (
    TextIndex,
    cache_folder,
    count_to,
    density,
    read_sidecar,
    write_sidecar,
)
from codedata.sources.parquet.kept import GroupReader
from codedata.sources.parquet.refusals import COLUMN, MAGIC
from codedata.sources.partial_file import SparseFile, TextPart
from codedata.store.files import sha256_of

__all__ = ["MAGIC", "FileIdentity", "ParquetText", "TextIndex", "Utf8", "cache_folder"]


class ParquetText:
    """The text of one parquet file.

    Args:
        path: the file.
        expected_sha256: refuse the file if its bytes hash to anything else.
        part: how much of the parquet the file holds, where it is a sparse one with a part.
        sparse: to read the parquet through while parts of it are not here yet; nothing of it is
            hashed, and nothing cached.

    Attributes:
        sha256: of the file's bytes, or the part's fingerprint.
        columns: type by column name.

    Raises:
        CorpusError: missing, not a whole parquet, no usable `content` column, or another sha256.
    """

    def __init__(
        self,
        path: Path,
        *,
        expected_sha256: str | None = None,
        part: TextPart | None = None,
        sparse: SparseFile | None = None,
    ) -> None:
        self.path = path
        self.part = part
        self._parquet = Parquet(path, sparse)
        self._reader = GroupReader(self._parquet)
        footer = self._parquet.footer
        self.identity = self._parquet.identity
        self.columns = footer.columns
        self.num_row_groups = part.num_row_groups if part else len(footer.group_rows)
        self.group_rows = footer.group_rows[: self.num_row_groups]
        self.num_rows = sum(self.group_rows)
        self.sha256 = "" if sparse else _identify(path, part, expected_sha256)
        self.index = TextIndex() if sparse else read_sidecar(self._sidecar, self.group_rows)

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has; counts row groups as far as that needs.

        Raises:
            CorpusError: the text is empty, or ends before the window starts, or not as much of it
                was fetched.
        """
        if self.part and not self.part.ends_here and window.stop > self.part.num_chars:
            raise CorpusError(
                f"characters {window.start} to {window.stop} are asked for, but of the text of "
                f"{self.path} only the first {self.part.num_chars} were fetched; raise first_chars "
                f"of its corpus to {window.stop}, or leave it out to have the whole file"
            )
        self._count_to(window.stop)
        counted, num_documents, num_nulls = self.index.total()
        if counted == num_documents:
            raise CorpusError(
                f"{self.path} holds no text: {self.num_rows} rows, of which {num_nulls} have a "
                f"null and {num_documents} an empty {COLUMN!r}; name a file with documents"
            )
        if counted > window.stop:
            return window
        length = counted - 1
        if window.start >= length:
            raise CorpusError(
                f"starting_character is {window.start}, but the text of {self.path} has only "
                f"{length} characters; choose a smaller one"
            )
        return window.until(length)

    def read(self, chars: CharRange) -> str:
        """The characters of a range as a string: see `read_utf8`."""
        return str(self.read_utf8(chars).data, "utf-8")

    def read_utf8(self, chars: CharRange) -> Utf8:
        """The characters of a range that `clip` returned, or of a part of it, as UTF-8.

        Returns:
            uint8, shape (num_bytes,).

        Raises:
            CorpusError: the file changed or is damaged, or the index is another file's.
        """
        text = address.text(self._reader, self.index, self.num_row_groups, chars)
        if text is None:
            raise CorpusError(
                f"characters {chars.start} to {chars.stop} of {self.path} are not as many: the "
                f"index {self._sidecar} does not agree with the file; remove it and run again"
            )
        return text

    def documents(self, chars: CharRange) -> Iterator[Documents]:
        """The documents of a range that `clip` returned: see `address.documents`."""
        return address.documents(self._reader, self.index, self.num_row_groups, chars)

    def first_documents(self, num_documents: int) -> list[str]:
        """The first documents, for a look at them."""
        documents: list[str] = []
        for batch in decode(self._parquet, range(self.num_row_groups)):
            found = batch.contents.drop_null()
            documents += found.slice(0, num_documents - len(documents)).to_pylist()
            if len(documents) == num_documents:
                break
        return documents

    def share_of_groups(self, num_chars: int) -> float:
        """About what share of the row groups the first `num_chars` characters take, by size."""
        self._count_to(0)
        group_bytes = self._parquet.footer.group_bytes[: self.num_row_groups]
        return min(1.0, num_chars / max(1.0, sum(group_bytes) * density(self.index, group_bytes)))

    def _count_to(self, stop: int) -> None:
        known = len(self.index.num_chars)
        count_to(self._parquet, self.index, self.num_row_groups, stop)
        if len(self.index.num_chars) > known and self._parquet.sparse is None:
            write_sidecar(self._sidecar, self.index)

    @property
    def _sidecar(self) -> Path | None:
        folder = cache_folder()
        return folder and folder / "text-index-1" / f"{self.sha256}.json"


def _identify(path: Path, part: TextPart | None, expected_sha256: str | None) -> str:
    """The sha256 of a file, or the fingerprint of an intact part: hashed once a process.

    One that was written a moment ago is hashed each time: its times may not tell a change.
    """
    changed_ns = path.stat().st_ctime_ns  # which nobody can set back
    hashed = _hashed if is_settled(changed_ns) else _hashed.__wrapped__
    found = hashed(path, FileIdentity.of(path), changed_ns, part)
    if expected_sha256 not in (None, found):
        raise CorpusError(
            f"{path} has sha256 {found}, but {expected_sha256} was expected: it is damaged or "
            "another file; remove it and fetch it again"
        )
    return found


@lru_cache(maxsize=1 << 16)  # files of a corpus
def _hashed(path: Path, _identity: FileIdentity, _changed_ns: int, part: TextPart | None) -> str:
    if part is not None:
        part.require_intact(path)
        return part.fingerprint
    with open(path, "rb") as file:
        return sha256_of(file)
