"""A place as people write it -> a path of this machine.

Every string of a user that names a file or folder comes through here: `~` is the home folder, and a
URL is refused, where `Path` would make a folder `s3:` of it; who takes those of object stores asks
`is_object_url` before. Refused is a name whose bytes are no UTF-8, too: neither the run's history
nor a record can hold it; and a URL with what may be a secret, which no message repeats.
"""

import os
import re
from pathlib import Path

from codedata.errors import SettingsError
from codedata.printable import shortened

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/", re.ASCII)
"""A scheme of two letters or more; `Path` has already made one slash of the two."""

_BEFORE_PATH = re.compile(r"\A[^:]*:/+")

_NOT_OBJECTS = re.compile(r"(hf|file|local|https?)://", re.IGNORECASE)

_HUB = re.compile(r"hf:/", re.IGNORECASE)
_FILE = re.compile(r"file:/", re.IGNORECASE)


def is_object_url(place: str) -> bool:
    """Whether a place is a URL of an object store: `s3://bucket/prefix`, gs, az, memory, others."""
    return bool(_URL.match(place)) and "://" in place and not _NOT_OBJECTS.match(place)


def place_at(
    place: str | os.PathLike[str], what: str, *, error: type[Exception] = SettingsError
) -> Path | str:
    """The path that a place names, as `local_path` has it, or the URL in an object store.

    Raises:
        Exception: it is another URL, has what may be a secret, or is no place; of the kind `error`.
    """
    if isinstance(place, str) and is_object_url(place):
        require_no_secret(place, what, error=error)
        require_utf8(place, what, error=error)
        return place
    return local_path(place, what, error=error)


def local_path(
    place: str | os.PathLike[str],
    what: str,
    *,
    error: type[Exception] = SettingsError,
    instead: str = "",
) -> Path:
    """The path that a place names, with `~` for the home folder.

    Args:
        place: as the user wrote it.
        what: what it is, for messages: a variable, a switch, a field.
        error: the kind of error to raise.
        instead: of a URL, what to write; by default what is usual for its kind.

    Raises:
        Exception: it is a URL, or no UTF-8, or there is no such home folder; of the kind `error`.
    """
    text = os.fspath(place)
    require_utf8(text, what, error=error)
    if _URL.match(text):
        require_no_secret(text, what, error=error)
        raise error(f"{what} is {shortened(text)!r}, a URL; {instead or _instead_of_url(text)}")
    if not text.startswith("~"):
        return Path(text)
    expanded = os.path.expanduser(text)  # noqa: PTH111 - Path's own raises where this tells
    if expanded.startswith("~"):
        raise error(
            f"{what} is {shortened(text)!r}, but {text.partition('/')[0]} has no home directory "
            "here; write the whole path"
        )
    return Path(expanded)


def require_utf8(path: str, what: str, *, error: type[Exception] = SettingsError) -> None:
    """Refuse a path with bytes that are no UTF-8, which Python holds as lone surrogates.

    Raises:
        Exception: of the kind `error`.
    """
    try:
        path.encode()
    except UnicodeEncodeError as wrong:
        raise error(
            f"{what} is {shortened(path)!r}, a name that is not UTF-8, which no record of a run "
            "can hold; rename it, or reach it through a link with another name"
        ) from wrong


def require_no_secret(url: str, what: str, *, error: type[Exception] = SettingsError) -> None:
    """Refuse a URL with what may be a password or a signature, and show nothing of it.

    A password ends at the last `@`: it may have slashes, as half of all keys of AWS do.

    Raises:
        Exception: of the kind `error`.
    """
    path = _BEFORE_PATH.sub("", url, count=1)
    if ":" in path.rpartition("@")[0]:
        found = "a ':' before an '@', as a URL with a password"
    elif "?" in path:
        found = "a '?', as a URL with a signature"
    else:
        return
    raise error(
        f"{what} has {found}, and is not shown: it would stand in logs and records; write it "
        "without, and say who asks in the variables or files of the store's own tools"
    )


def _instead_of_url(text: str) -> str:
    if _HUB.match(text):
        return (
            "only paths of this machine are taken here: write owner/name for what is on the hub "
            "(a corpus: kind: hub, with repo and path), or download it and name its path"
        )
    if _FILE.match(text):
        return "write the path alone, such as /data/corpus"
    return (
        "only paths of this machine are taken here: copy it here, or mount it, and name that path"
    )


def cache_folder() -> Path | None:
    """Where this user's caches are: `$XDG_CACHE_HOME/codedata`, by default `~/.cache/codedata`.

    None where this user has no home folder, as in a container: then nothing is cached.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    return base / "codedata" if base.is_absolute() else None
