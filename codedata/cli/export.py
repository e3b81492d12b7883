"""`codedata export`: a dataset in another format, for other readers."""

import argparse
import json
from pathlib import Path

from codedata.arguments import path
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import add_dataset, open_named
from codedata.printable import say
from codedata.store.locks import NO_LOCK_HELP


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "export",
        help="write a dataset in another format",
        description="Write a dataset as parquet, npy, or in Megatron's or MosaicML's format.",
    )
    add_dataset(parser)
    parser.add_argument(
        "--to", required=True, choices=["parquet", "npy", "megatron", "mds"], help="the format"
    )
    parser.add_argument(
        "--output",
        type=path,
        help="folder to make (default: DATASET-FORMAT, beside the dataset; of a URL, here)",
    )
    parser.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write a dataset in another format, and say how it is opened."""
    # pyarrow, only where it is used
    from codedata.export.blocks import NOT_CARRIED
    from codedata.export.exporting import FORMATS, export_dataset

    dataset = open_named(options.dataset)
    folder = dataset.folder.absolute()
    if folder.name == "..":
        folder = folder.resolve()
    if dataset.url is not None:
        folder = Path.cwd() / folder.name
    output = options.output or folder.with_name(f"{folder.name}-{options.to}")
    export_dataset(dataset, options.to, output)
    quoted = json.dumps(str(output), ensure_ascii=False)[1:-1]
    written = FORMATS[options.to]
    say(f"{output}: {dataset.num_samples} samples of {dataset.seq_length} tokens")
    if dataset.spans:
        carrying = [name for name, each in FORMATS.items() if each.boundaries != NOT_CARRIED]
        remedy = f"; {' and '.join(carrying)} carry them" if options.to not in carrying else ""
        say(f"boundaries of documents: {written.boundaries}{remedy}")
    say(f"open it with {written.usage.format(folder=quoted)}")
    return 0
