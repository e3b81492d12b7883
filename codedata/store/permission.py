"""A file or folder that this user may not write -> whose it is, and what helps."""

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path


def explained(error: OSError) -> str:
    """An error in one line; where permission is missing, with whose the file or folder is."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return str(error)
    return explained_at(str(error), Path(error.filename))


def explained_at(message: str, path: Path) -> str:
    """A message about a path that may not be written, with whose it is and what helps."""
    closed = closed_part(path)
    if closed is None:
        return message
    if os.statvfs(closed).f_flag & os.ST_RDONLY:
        return f"{message}; {closed} is on a filesystem that is mounted read-only"
    owner = closed.stat().st_uid
    remedy = "work in a folder that you may write"
    if owner == os.geteuid():
        remedy = "chmod u+rwX opens it"
    elif owner:  # nobody is to open the system's folders
        remedy += ", or have it opened to your group (chmod -R g+rwX, and umask 002 from then on)"
    return f"{message}; {whose(closed)}; {remedy}"


def closed_part(path: Path) -> Path | None:
    """A path that this user may not write, or the nearest folder above it that is there."""
    for each in (path, *path.parents):
        if is_closed(each):
            return each
        if each != path and os.access(each, os.F_OK):
            break
    return None


def is_closed(path: Path) -> bool:
    """Whether a file or folder is there that this user may not write."""
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False
    return not os.access(path, os.W_OK | (os.X_OK if is_folder else 0))


def whose(path: Path) -> str:
    """Whose a file or folder is that this user may not write."""
    status = path.stat()
    owner = f"user {status.st_uid}"
    with suppress(KeyError):  # containers have users without a name
        owner = pwd.getpwuid(status.st_uid).pw_name
    if status.st_uid == os.geteuid():
        owner = "you"
    return f"{path} belongs to {owner} and is closed to you ({stat.filemode(status.st_mode)})"
