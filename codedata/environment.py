"""The variables that codedata reads: those of the process, and those of a .env beside them.

Dagster's commands take the .env of their working folder into their environment. Here its CODEDATA_*
are seen in the same way, so that whatever resolves the root finds the same one. A variable that the
process has wins, and only a command writes into the process's environment.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from codedata.errors import SettingsError

PREFIX = "CODEDATA_"
"""What every variable of this package begins with."""

_FILE = ".env"


def variables() -> dict[str, str]:
    """All `CODEDATA_*`: of the .env of the working folder, and over them the process's own.

    Raises:
        SettingsError: there is a .env that cannot be read.
    """
    return {
        name: value
        for name, value in {**_of_file(), **os.environ}.items()
        if name.startswith(PREFIX)
    }


def take_env_file() -> None:
    """Take the whole .env of the working folder into the environment, as Dagster's commands do.

    Raises:
        SettingsError: there is a .env that cannot be read.
    """
    for name, value in _of_file().items():
        os.environ.setdefault(name, value)


def _of_file() -> Mapping[str, str]:
    path = Path(_FILE).absolute()
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    return _parsed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)  # it is asked for a switch at a time, and python-dotenv warns at each parse
def _parsed(path: Path, modified_ns: int, num_bytes: int) -> Mapping[str, str]:  # noqa: ARG001
    from dotenv import dotenv_values  # only where there is a file

    try:
        found = dotenv_values(path)
    except OSError as error:
        raise _unreadable(path, error.strerror) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it is no UTF-8") from error
    for name, value in found.items():
        if "\0" in f"{name}{value}":
            raise _unreadable(path, f"{name!r} holds a NUL character")
    return {name: value for name, value in found.items() if value is not None}


def _unreadable(path: Path, why: str | None) -> SettingsError:
    return SettingsError(f"{path} cannot be read: {why}; correct it, or take it away")
