"""`codedata verify`: every byte, count and hash of datasets, recomputed."""

import argparse
import json
from typing import Any

from codedata.arguments import hinted
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import add_dataset, dataset_folder, summary
from codedata.errors import CodedataError
from codedata.printable import fail, say
from codedata.store.dataset_folder import open_dataset


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="recompute structure, counts and hashes",
        description="Recompute structure, counts and hashes of datasets; exit with 1 if any is "
        "damaged.",
        epilog="--json: a list, of each dataset an object with dataset (as it was named) and "
        "whole; of one that is, folder, files, samples, tokens and digest, of one that is "
        "not, error.",
    )
    add_dataset(parser, several=True)
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check datasets, all of them even where one is damaged."""
    status, found = 0, list[dict[str, Any]]()
    for named in options.datasets:
        try:
            dataset = open_dataset(dataset_folder(named), verify=True)
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
        found.append({"dataset": named, "folder": folder, "whole": True, **counts})
        if not options.json:
            say(f"{dataset.folder}: whole; {summary(dataset)}")
    if options.json:
        print(json.dumps(found, indent=2))
    return status
