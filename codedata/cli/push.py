"""`codedata push`: a dataset to a repository of the Hugging Face Hub."""

import argparse
from pathlib import Path

from codedata.cli.commands import Commands
from codedata.cli.dataset_names import add_dataset, dataset_place
from codedata.errors import CodedataError
from codedata.layout import is_repo
from codedata.printable import say
from codedata.progress import TERMINAL
from codedata.store.copies import dataset_copy


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "push",
        help="upload a dataset to the Hugging Face Hub",
        description="Upload a dataset with its facts and card, privately unless told otherwise.",
    )
    add_dataset(parser)
    parser.add_argument(
        "repo", metavar="REPO", help="dataset repository, owner/name; made if there is none"
    )
    parser.add_argument(
        "--public", action="store_true", help="let anyone see it; by default only you do"
    )
    parser.add_argument("--branch", default="main", help="where the commit goes (default main)")
    parser.add_argument("--message", help="of the commit; by default it names the digest")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Upload a dataset, and say where it is.

    Raises:
        CodedataError: it is no whole dataset, or the hub does not take it.
    """
    if not is_repo(options.repo):
        raise CodedataError(f"repo is {options.repo!r}; write it as owner/name")
    # A second of imports that the other commands do not need.
    from codedata.hub.datasets import push_dataset
    from codedata.hub.refusals import HubError

    place = dataset_place(options.dataset)
    folder = place if isinstance(place, Path) else dataset_copy(place, TERMINAL)
    try:
        address = push_dataset(
            folder,
            options.repo,
            public=options.public,
            branch=options.branch,
            message=options.message,
            reporter=TERMINAL,
        )
    except HubError as error:
        raise CodedataError(f"the hub does not take {place} as {options.repo}: {error}") from error
    say(f"{place} is on the hub: {address}")
    return 0
