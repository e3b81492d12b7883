"""Where on this machine tokenizers lie, by fingerprint: cards, which others get, do not say.

A small file a tokenizer in the cache folder. It may be gone, or name what is no longer there:
whoever looks a tokenizer up compares its fingerprint.
"""

import json
import logging
import os
from pathlib import Path

from codedata.places import cache_folder
from codedata.store.files import replace_atomically
from codedata.tokenize.tokenizer_files import TokenizerFiles

logger = logging.getLogger(__name__)


def place_of(files: TokenizerFiles) -> str:
    """A tokenizer of the hub as it was named; the absolute path of one of this machine."""
    if files.revision is not None:
        return files.source
    return os.path.abspath(Path(files.source).expanduser())  # noqa: PTH100  # a link keeps its name


def remember_tokenizer(files: TokenizerFiles) -> None:
    """Note where a tokenizer of this machine lies; one of the hub is found by its name."""
    if files.revision is not None:
        return
    try:
        path = _note(files.fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, json.dumps({"source": place_of(files)}).encode())
    except OSError as error:
        logger.info("where the tokenizer %s lies is not remembered: %s", files.source, error)


def remembered_tokenizer(fingerprint: str) -> str | None:
    """Where a tokenizer was when a dataset was last made with it; None where nobody noted it."""
    try:
        source = json.loads(_note(fingerprint).read_bytes())["source"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return source if isinstance(source, str) else None


def _note(fingerprint: str) -> Path:
    folder = cache_folder()
    if folder is None:
        raise FileNotFoundError("this user has no cache folder")
    return folder / "tokenizers-1" / f"{fingerprint}.json"
