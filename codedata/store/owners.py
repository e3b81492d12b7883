"""A file or folder -> whose it is: may this user write it, may a stranger, and what helps.

A work folder may be one that others can write. What a file holds is its owner's word and that of
everybody who may write it, so trust is asked of the opened file itself: whoever can write the
folders above it can put another in its place, but not one of this user's.
"""

import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def explained(error: OSError) -> str:
    """An error in one line; where permission is missing, with whose the file or folder is."""
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return str(error)
    return explained_at(str(error), Path(error.filename))


def explained_at(message: str, path: Path) -> str:
    """A message about a path that may not be written, with whose it is and what helps."""
    for closed in (path, *path.parents):
        if is_closed(closed):
            break
        if closed != path and os.access(closed, os.F_OK):
            return message
    else:
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


def why_not_trusted(path: Path, status: os.stat_result, root: Path | None) -> str | None:
    """Whom a file belongs to or who else may write it, where that is a stranger; else None.

    Trusted are this user (behind sudo too) and root. Where `root` is writable by its group and not
    by everybody, those who work in it are that group, and what has the group is trusted; but not
    in a folder that everybody may write, which may give a stranger's file that group.

    Args:
        path: of the file or folder, for what lies around it.
        status: of it, as it was opened.
        root: the folder under which everything lies; None where no group shares it.
    """
    shared = None if root is None else _shared_group(root)
    why = None
    if status.st_mode & stat.S_IWOTH:
        why = "everybody may write it"
    elif status.st_mode & stat.S_IWGRP and status.st_gid != shared:
        why = f"the group {status.st_gid} may write it"
        why += f", which is not the one that shares {root}" if root else ""
    elif status.st_uid not in _this_user():
        of_group = status.st_gid == shared and not path.parent.stat().st_mode & stat.S_IWOTH
        why = None if of_group else f"it belongs to the user {status.st_uid}"
    return why if why and _keeps_modes(path.parent) else None


def close_to_strangers(path: Path, root: Path | None) -> str | None:
    """Let nobody but those who are trusted write a file or folder that is this user's.

    Returns:
        Why it is not trusted where it is another's; see `why_not_trusted`.
    """
    status = path.stat()
    why = why_not_trusted(path, status, root)
    if why is None or status.st_uid != os.geteuid():
        return why
    is_shared = root is not None and status.st_gid == _shared_group(root)
    strangers = stat.S_IWOTH | (0 if is_shared else stat.S_IWGRP)
    path.chmod(stat.S_IMODE(status.st_mode) & ~strangers)
    return None


def _this_user() -> set[int]:
    """This user and root; where this is root by sudo, who called it."""
    behind = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    return {0, os.geteuid(), *([int(behind)] if behind.isdecimal() else [])}


def _shared_group(root: Path) -> int | None:
    folder = root.stat()
    writable = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder.st_gid if writable == stat.S_IWGRP else None


def _keeps_modes(folder: Path) -> bool:
    """Whether the filesystem knows owners: those of Windows are mounted with the same for all."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".codedata-") as file:
            made = os.fstat(file.fileno())
    except OSError:  # it cannot be written by this user, which is a mode
        return True
    return made.st_uid == os.geteuid() and not made.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
