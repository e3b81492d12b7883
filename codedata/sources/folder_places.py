"""A path of a corpus -> what the system says of it, or a refusal where it does not say.

A passing fault (EACCES, EIO, ESTALE) never makes a smaller corpus. No pyarrow, so that packages'
header folders are found at no cost.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codedata.errors import CorpusError


@contextmanager
def refusing_unreadable(path: Path) -> Iterator[None]:
    """Say of which path of the corpus the system did not give what was asked for.

    Raises:
        CorpusError: naming it.
    """
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"{path} of the corpus cannot be read: {error.strerror or error}; a corpus without it "
            "would be another one: make it readable, or take what it is in out of the source"
        ) from error


def is_folder(path: Path) -> bool:
    """Whether a folder is there.

    Raises:
        CorpusError: the system does not say.
    """
    with refusing_unreadable(path):
        try:
            return stat.S_ISDIR(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
