"""Where on this machine tokenizers lie, by fingerprint: cards, which others get, do not say.

A note a tokenizer. It may name what is no longer there: whoever looks a tokenizer up compares its
fingerprint.
"""

import os
from pathlib import Path

from codedata.store.notes import read_note, write_note
from codedata.tokenize.tokenizer_files import TokenizerFiles

_NOTES = "tokenizers-1"


def place_of(files: TokenizerFiles) -> str:
    """A tokenizer of the hub as it was named; the absolute path of one of this machine."""
    if files.revision is not None:
        return files.source
    return os.path.abspath(Path(files.source).expanduser())  # noqa: PTH100  # a link keeps its name


def remember_tokenizer(files: TokenizerFiles) -> None:
    """Note where a tokenizer of this machine lies; one of the hub is found by its name."""
    if files.revision is None:
        write_note(_NOTES, files.fingerprint, {"source": place_of(files)})


def remembered_tokenizer(fingerprint: str) -> str | None:
    """Where a tokenizer was when a dataset was last made with it; None where nobody noted it."""
    found = read_note(_NOTES, fingerprint)
    source = found.get("source") if isinstance(found, dict) else None
    return source if isinstance(source, str) else None
