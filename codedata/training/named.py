"""How users name a dataset (a split, a folder, a URL, owner/name on the hub) -> it, opened."""

import os
from pathlib import Path
from typing import Any, Final, cast

from codedata.errors import DatasetError, SettingsError
from codedata.layout import is_name, is_repo
from codedata.printable import shortened
from codedata.store.copies import published_place
from codedata.training.dataset import PickledTrainerDataset

DATASET_NAME: Final = "split's name, folder or URL, or owner/name on the hub with its revision"


def require_named(name: Any, revision: object, what: str) -> None:
    """Refuse what names no dataset, or one of the hub in another way, without opening it.

    Args:
        name: what a user wrote.
        revision: of the hub; None where it was left out.
        what: which dataset it is to be, for messages.

    Raises:
        SettingsError: it names none, or has a revision that is none or is of no hub.
        DatasetError: it is no folder, and may be a repository without its revision.
    """
    is_of_hub = isinstance(name, str) and is_repo(name)
    if revision is None:
        if not isinstance(cast("object", name), str | os.PathLike) or name == "":
            raise SettingsError(f"{what} is {shortened(repr(name))}; give a {DATASET_NAME}")
        if isinstance(name, str) and name.lower().startswith("hf:"):
            raise SettingsError(
                f"{what} is {shortened(repr(name))}; write owner/name, and as revision main, or a "
                "commit, which is the same samples for ever"
            )
        if is_of_hub and not Path(cast("str", name)).exists():
            raise DatasetError(
                f"{what}: there is no folder {name!r} here; if it is a dataset on the hub, give "
                "its revision, main or a commit, which is the same samples for ever"
            )
    elif not isinstance(revision, str) or not revision:
        raise SettingsError(
            f"{what} has the revision {shortened(repr(revision))}; write a branch, tag or commit, "
            "in quotation marks if it is of digits alone"
        )
    elif not is_of_hub:
        raise SettingsError(
            f"{what} has a revision, which is of a dataset on the hub, owner/name, and this is "
            f"{shortened(repr(name))}; leave it out, or write which version of a URL behind it, "
            "as in s3://bucket/datasets/train@7"
        )


def open_named(
    name: str | os.PathLike[str],
    revision: str | None,
    *,
    quiet: bool = True,
    verify: bool = False,
    stream: bool = False,
) -> PickledTrainerDataset:
    """Open what `require_named` took; a name of a split before a folder of that name.

    Raises:
        DatasetError: nothing is there, or it is damaged, or the hub does not give it.
    """
    if revision is not None:
        return PickledTrainerDataset.from_hub(
            os.fspath(name), revision, quiet=quiet, verify=verify, stream=stream
        )
    place = published_place(cast("str", name)) if is_name(name) else name
    return PickledTrainerDataset([place], quiet=quiet, verify=verify, stream=stream)
