"""Names of installed packages -> the folders of the C and C++ headers that they brought.

Packages are asked where they lie without being imported; torch would take seconds.
"""

import sysconfig
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_HEADERS = {
    "numpy": "_core/include",
    "pyarrow": "include",
    "torch": "include",
}


def header_folders(packages: Sequence[str]) -> dict[str, Path]:
    """The header folders of installed packages, by package name; missing ones are left out.

    Args:
        packages: `python` for the interpreter's own, or a package's import name; its headers are
            looked for where known packages have them, by default in its folder `include`.
    """
    folders: dict[str, Path] = {}
    for package in packages:
        if package == "python":
            candidates = [Path(sysconfig.get_paths()["include"])]
        else:
            spec = find_spec(package)
            places = (spec.submodule_search_locations if spec else None) or []
            candidates = [Path(place, _HEADERS.get(package, "include")) for place in places]
        folders.update({package: folder for folder in candidates if folder.is_dir()})
    return folders
