"""A parquet's documents as one text, addressed in characters.

The text is the file's non-null contents in file order, joined by one space. Only the column
`content` is read, and of it only the row groups that hold the characters asked for, batch by
batch. The work is done in `codedata.sources.parquet`; here are the file's identity and the window.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange, Utf8
from codedata.places import cache_folder
from codedata.sources.documents import Documents
from codedata.sources.parquet import address
from codedata.sources.parquet.footer import FileIdentity, Parquet, is_settled
from codedata.sources.parquet.index import TextIndex, count_to, read_sidecar, write_sidecar
from codedata.sources.parquet.kept import GroupReader
from codedata.sources.parquet.refusals import COLUMN

__all__ = ["FileIdentity", "ParquetText", "TextIndex", "Utf8"]


class ParquetText:
    """The text of one parquet file.

    Args:
        path: the file.
        expected_sha256: refuse the file if its bytes hash to anything else.

    Attributes:
        sha256: of the file's bytes.
        num_bytes: of the file.
        columns: type by column name.

    Raises:
        CorpusError: missing, not a whole parquet, no usable `content` column, or another sha256.
    """

    def __init__(self, path: Path, *, expected_sha256: str | None = None) -> None:
        self.path = path
        self._parquet = Parquet(path)
        self._reader = GroupReader([self._parquet])
        footer = self._parquet.footer
        self.num_bytes = self._parquet.identity.num_bytes
        self.columns = footer.columns
        self.num_row_groups = len(footer.group_rows)
        self.group_rows = footer.group_rows
        self.num_rows = sum(self.group_rows)
        self.sha256 = sha256_once(path)
        if expected_sha256 not in (None, self.sha256):
            raise CorpusError(
                f"{path} has sha256 {self.sha256}, but {expected_sha256} was expected: it is "
                "damaged or another file; remove it and fetch it again"
            )
        self.index = read_sidecar(self._sidecar, self.group_rows)

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has; counts row groups as far as that needs.

        Raises:
            CorpusError: the text is empty, or ends before the window starts.
        """
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
        for batch in self._reader.decode(range(self.num_row_groups)):
            found = batch.contents.drop_null()
            documents += found.slice(0, num_documents - len(documents)).to_pylist()
            if len(documents) == num_documents:
                break
        return documents

    def _count_to(self, stop: int) -> None:
        known = len(self.index.num_chars)
        count_to(self._parquet, self.index, self.num_row_groups, stop)
        if len(self.index.num_chars) > known:
            write_sidecar(self._sidecar, self.index)

    @property
    def _sidecar(self) -> Path | None:
        folder = cache_folder()
        return folder and folder / "text-index-1" / f"{self.sha256}.json"


def sha256_once(path: Path) -> str:
    """The sha256 of a file: hashed once a process.

    One that was written a moment ago is hashed each time: its times may not tell a change.
    """
    changed_ns = path.stat().st_ctime_ns  # which nobody can set back
    hashed = _hashed if is_settled(changed_ns) else _hashed.__wrapped__
    return hashed(path, FileIdentity.of(path), changed_ns)


@lru_cache(maxsize=1 << 16)  # files of a corpus
def _hashed(path: Path, _identity: FileIdentity, _changed_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
