"""Names of installed packages -> the folders of the C and C++ headers that they brought.

Packages are asked where they lie without being imported; torch would take seconds.
"""

import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from codedata.sources.folder_places import is_folder

_HEADERS = {"numpy": "_core/include"}
"""Where a package has its headers, if not in its folder `include`."""


def header_folders(packages: Sequence[str]) -> dict[str, Path]:
    """The header folders of installed packages, by package name; missing ones are left out.

    Args:
        packages: `python` for the interpreter's own, or a package's import name; its headers are
            looked for in its folder `include`, or where the package is known to have them.

    Raises:
        CorpusError: the system does not say whether a folder is there.
    """
    folders: dict[str, Path] = {}
    for package in packages:
        if package == "python":
            folder = Path(sysconfig.get_paths()["include"])
        else:
            try:
                spec = find_spec(package)
            except ModuleNotFoundError:  # of a dotted name, the parent
                continue
            places = list(spec.submodule_search_locations or []) if spec else []
            if not places:
                continue
            folder = Path(places[0], _HEADERS.get(package, "include"))
        if is_folder(folder):
            folders[package] = folder
    return folders
