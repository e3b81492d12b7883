"""A corpus that was fetched, pointed at or written: its parquet, and the record of what it is.

    <root>/corpora/<name>/corpus.json        the record: path, sha256, counts, origin
    <root>/corpora/<name>/corpus.parquet     only where codedata wrote the parquet itself
    <root>/corpora/<name>/parts/             only where no more than the leading text was fetched
    <root>/corpora/<name>/pin.json           the commit that a revision of the hub stands for here
    <root>/corpora/<name>/<file>/...         the same a file, where the corpus has several

Downstream goes by the record, and refuses a parquet that no longer has its sha256.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS, CharRange
from codedata.sources.parquet.text import ParquetText
from codedata.sources.parts import LeadingText, TextPart
from codedata.store.files import replace_atomically

RECORD_NAME = "corpus.json"
PARQUET_NAME = "corpus.parquet"
PARTS_NAME = "parts"
PIN_NAME = "pin.json"

_FILE = re.compile(r"\d{5}", re.ASCII)
"""A file's folder, where a corpus has several."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The record of a corpus.

    Attributes:
        path: absolute path of the parquet, or of the folder of its parts.
        sha256: of its bytes; of a part, its fingerprint.
        num_bytes: its size; of a part, that of the whole parquet.
        num_rows: rows, null ones included; of a part, those that are here.
        num_null_rows: rows whose content is null.
        num_chars: characters of the text, the joining spaces included.
        num_row_groups: row groups.
        columns: type by column name.
        origin: where the parquet came from: kind, and what identifies it there.
        part: what of it is here, where that is not all.
    """

    path: str
    sha256: str
    num_bytes: int
    num_rows: int
    num_null_rows: int
    num_chars: int
    num_row_groups: int
    columns: dict[str, str]
    origin: dict[str, Any]
    part: TextPart | None = None

    def open_text(self) -> ParquetText:
        """The text of the parquet, refused if its bytes are others than those recorded."""
        if self.part is not None:
            return LeadingText(Path(self.path), self.part)
        return ParquetText(Path(self.path), expected_sha256=self.sha256)


def record_corpus(
    folder: Path,
    parquet: Path,
    origin: dict[str, Any],
    *,
    expected_sha256: str | None = None,
    part: TextPart | None = None,
) -> Corpus:
    """Read a parquet once and record what it is.

    Raises:
        CorpusError: the file is no usable corpus, or has another sha256.
    """
    path = parquet.absolute()
    text = LeadingText(path, part) if part else ParquetText(path, expected_sha256=expected_sha256)
    chars = text.clip(CharRange(0, part.num_chars if part else MAX_CHARACTERS))
    corpus = Corpus(
        path=str(text.path),
        sha256=text.sha256,
        num_bytes=text.num_bytes,
        num_rows=sum(text.group_rows),
        num_null_rows=text.index.total().num_nulls,
        num_chars=chars.stop,
        num_row_groups=len(text.group_rows),
        columns=text.columns,
        origin=origin,
        part=part,
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_atomically(folder / RECORD_NAME, json.dumps(asdict(corpus), indent=2).encode())
    return corpus


def read_corpus(folder: Path) -> Corpus:
    """The record of a corpus that was materialized, or of one of its files.

    Raises:
        CorpusError: there is none; the message says how to make it.
    """
    is_file = _FILE.fullmatch(folder.name) is not None
    name = folder.parent.name if is_file else folder.name
    of_file = f", partition {folder.name}" if is_file else ""
    try:
        return TypeAdapter(Corpus).validate_json((folder / RECORD_NAME).read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(
            f"corpus {name!r} is not materialized: {folder / RECORD_NAME} does not exist; "
            f"materialize {name}/raw_parquet{of_file}"
        ) from error
    except ValueError as error:
        raise CorpusError(f"{folder / RECORD_NAME} is damaged; materialize it again") from error
