"""What a source asks for elsewhere -> the list of its files, kept in the corpus's folder.

    <root>/corpora/<name>/listing.json

Definitions load by it and ask nobody. It holds as long as the source asks for the same; another one
takes its place when somebody asks anew, never by itself.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from codedata.errors import CorpusError
from codedata.sources.paths import MAX_FILES
from codedata.store.files import replace_atomically
from codedata.store.owners import explained

LISTING_NAME = "listing.json"


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """A file that was there.

    Attributes:
        path: as its source names it.
        num_bytes: its size.
        etag: what tells another version of it: a hash, where there is one.
    """

    path: str
    num_bytes: int
    etag: str


@dataclass(frozen=True)
class Listing:
    """The files of a corpus when they were asked for.

    Attributes:
        asked: what was asked for.
        files: in order.
        revision: of a repository, the branch, tag or commit that they are of.
        commit: that it stood for.
    """

    asked: str
    files: tuple[ListedFile, ...]
    revision: str = ""
    commit: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 over the files: the same names, sizes and versions."""
        return hashlib.sha256(_dumped(self.files)).hexdigest()

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the files, in order."""
        return tuple(file.path for file in self.files)

    def changes_since(self, old: "Listing") -> str:
        """How many files are new, gone and other than in an older list; nothing where none are."""
        then = {file.path: file for file in old.files}
        now = {file.path: file for file in self.files}
        numbers = {
            "new": len(now.keys() - then.keys()),
            "gone": len(then.keys() - now.keys()),
            "changed": sum(then[path] != now[path] for path in then.keys() & now.keys()),
        }
        return ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)


def why_not_these(files: Sequence[object], what: str) -> str:
    """Why a list of files is none that a corpus may have; nothing where it is one."""
    if not files:
        return f"{what} has no files"
    if len(files) > MAX_FILES:
        return (
            f"{what} has {len(files):,} files, more than the {MAX_FILES:,} that a corpus may have; "
            "name fewer, in several corpora"
        )
    return ""


def read_listing(folder: Path, asked: str) -> Listing | None:
    """The list of a corpus, if one was made by asking for the same; one that is damaged is none.

    Raises:
        CorpusError: what lies there cannot be read.
    """
    path = folder / LISTING_NAME
    try:
        kept = _listing().validate_json(path.read_bytes(), strict=True)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise CorpusError(
            f"the list of a corpus's files cannot be read: {explained(error)}; remove {path}, and "
            "`codedata list --refresh` makes it anew"
        ) from error
    return kept if kept.asked == asked and not why_not_these(kept.files, str(path)) else None


@cache
def _listing() -> TypeAdapter[Listing]:
    return TypeAdapter(Listing)


def write_listing(folder: Path, listing: Listing) -> None:
    """Keep the list of a corpus in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_atomically(folder / LISTING_NAME, _dumped(asdict(listing)))


def _dumped(what: Any) -> bytes:
    return json.dumps(what, indent=1, default=asdict).encode()
