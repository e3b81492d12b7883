"""`codedata fetch`: a dataset of the Hugging Face Hub, or at a URL -> a folder here."""

import argparse

from codedata.arguments import path
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import summary
from codedata.errors import CodedataError
from codedata.places import is_object_url, require_no_secret
from codedata.printable import say
from codedata.progress import TERMINAL
from codedata.store.copies import bring, find_version
from codedata.store.dataset_folder import open_dataset
from codedata.store.files import map_file
from codedata.store.locks import NO_LOCK_HELP
from codedata.store.publishing import Staging, check_target, open_staging


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "fetch",
        help="download a dataset from the Hugging Face Hub or an object store",
        description="Download a dataset that was pushed, or published in an object store, "
        "verified, into a folder; what the folder holds of an older dataset is replaced whole.",
    )
    parser.add_argument(
        "source",
        metavar="REPO[@REVISION]",
        help="dataset repository, owner/name, by default its branch main; or the URL of a "
        "dataset, s3://bucket/root/datasets/train, by default its newest version",
    )
    parser.add_argument("folder", metavar="FOLDER", type=path, help="where it goes")
    parser.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Download a dataset, and say what it is.

    Raises:
        CodedataError: it is not given, is no whole dataset, or the folder holds something else.
    """
    require_no_secret(options.source, "the dataset")
    target = check_target(options.folder)
    with open_staging(target) as staging:
        if is_object_url(options.source):
            bring(*find_version(options.source), staging.put, TERMINAL)
            open_dataset(staging.stage).check_unhashed()
        else:
            _stage_from_hub(options.source, staging)
        staging.publish()
    say(f"{options.folder}: {summary(open_dataset(target))}")
    return 0


def _stage_from_hub(source: str, staging: Staging) -> None:
    # A second of imports that the other commands do not need.
    from codedata.hub.datasets import fetch_dataset
    from codedata.hub.refusals import HubError

    repo, _, revision = source.partition("@")
    try:
        fetched = fetch_dataset(repo, revision or "main", TERMINAL)
    except HubError as error:
        raise CodedataError(f"the hub does not give dataset {source}: {error}") from error
    for each in sorted(fetched.iterdir()):
        with each.open("rb") as file:
            staging.put(each.name, map_file(file).data)
