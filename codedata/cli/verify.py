"""`codedata verify`: every byte, count and hash of datasets, recomputed."""

import argparse
import json
from typing import Any

from codedata.arguments import hinted
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import add_dataset, open_named, summary
from codedata.errors import CodedataError
from codedata.printable import fail, say
from codedata.store.copies import require_in_store

_OF_A_COPY = "; checked: every hash of the copy here, of the objects in the store the size in all"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="recompute structure, counts and hashes",
        description="Recompute structure, counts and hashes of datasets; exit with 1 if any is "
        "damaged. Of one in an object store, a copy here is verified, and that all of its objects "
        "are there, by their size in all; they are not read again.",
        epilog="--json: a list, of each dataset an object with dataset (as it was named) and "
        "whole; of one that is, folder, files, samples, tokens and digest, and url where the "
        "folder is a copy of what is there, of one that is not, error.",
    )
    add_dataset(parser, several=True)
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check datasets, all of them even where one is damaged."""
    status, found = 0, list[dict[str, Any]]()
    for named in options.datasets:
        try:
            dataset = open_named(named, verify=True)
            if dataset.url is not None:
                require_in_store(dataset.url)
        except CodedataError as error:
            message = hinted(str(error), options.module)
            status = fail("codedata", message)
            found.append({"dataset": named, "whole": False, "error": message})
            continue
        counts = {
            "files": len(dataset.shards),
            "samples": dataset.num_samples,
            "tokens": dataset.num_tokens,
            "digest": dataset.digest,
        }
        folder = str(dataset.folder.absolute())
        url = {} if dataset.url is None else {"url": dataset.url}
        found.append({"dataset": named, "folder": folder, **url, "whole": True, **counts})
        if not options.json:
            say(f"{dataset.where}: whole; {summary(dataset)}{_OF_A_COPY if url else ''}")
    if options.json:
        print(json.dumps(found, indent=2))
    return status
