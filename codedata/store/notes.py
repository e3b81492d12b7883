"""Small JSON values that a process leaves for later ones, in this user's cache folder.

They may be gone at any time, and say nothing that cannot be found out again.
"""

import json
import logging
from pathlib import Path
from typing import Any

from codedata.places import cache_folder
from codedata.store.files import replace_atomically

logger = logging.getLogger(__name__)


def write_note(kind: str, name: str, value: object) -> None:
    """Leave a value, if that can be done."""
    try:
        path = _place(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, json.dumps(value).encode())
    except OSError as error:
        logger.info("nothing is noted in the cache folder: %s", error)


def read_note(kind: str, name: str) -> Any:
    """The value that was left; None where there is none."""
    try:
        return json.loads(_place(kind, name).read_bytes())
    except (OSError, ValueError):
        return None


def _place(kind: str, name: str) -> Path:
    folder = cache_folder()
    if folder is None:
        raise FileNotFoundError("this user has no cache folder")
    return folder / kind / f"{name}.json"
