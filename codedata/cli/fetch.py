"""`codedata fetch`: a dataset of the Hugging Face Hub -> a folder here."""

import argparse

from codedata.arguments import path
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import summary
from codedata.errors import CodedataError
from codedata.printable import say
from codedata.progress import TERMINAL
from codedata.store.dataset_folder import open_dataset
from codedata.store.files import map_file
from codedata.store.locks import NO_LOCK_HELP
from codedata.store.publishing import check_target, open_staging


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "fetch",
        help="download a dataset from the Hugging Face Hub",
        description="Download a dataset that was pushed, verified, into a folder; what the folder "
        "holds of an older dataset is replaced whole.",
    )
    parser.add_argument(
        "repo", metavar="REPO[@REVISION]", help="dataset repository, owner/name; its branch main"
    )
    parser.add_argument("folder", metavar="FOLDER", type=path, help="where it goes")
    parser.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Download a dataset, and say what it is.

    Raises:
        CodedataError: the hub does not give it, it is no whole dataset, or the folder holds
            something else.
    """
    target = check_target(options.folder)
    # A second of imports that the other commands do not need.
    from codedata.hub.datasets import fetch_dataset
    from codedata.hub.refusals import HubError

    repo, _, revision = options.repo.partition("@")
    try:
        fetched = fetch_dataset(repo, revision or "main", TERMINAL)
    except HubError as error:
        raise CodedataError(f"the hub does not give dataset {options.repo}: {error}") from error
    with open_staging(target) as staging:
        for each in sorted(fetched.iterdir()):
            with each.open("rb") as file:
                staging.put(each.name, map_file(file).data)
        staging.publish()
    dataset = open_dataset(target)
    say(f"{options.folder}: {summary(dataset)}")
    return 0
