"""`codedata report`: what datasets are made of, and how they differ, as one HTML file."""

import argparse
from collections import Counter
from pathlib import Path

from codedata.arguments import path
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import add_dataset, dataset_folder
from codedata.layout import Layout
from codedata.printable import say
from codedata.progress import TERMINAL


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="what datasets are made of and how they differ, as one HTML file",
        description="Write what datasets are made of as one HTML file with pictures; each is "
        "compared with those named before it.",
    )
    add_dataset(parser, several=True)
    parser.add_argument(
        "-o", "--output", type=path, default=Path("report.html"), help="default: report.html"
    )
    parser.add_argument(
        "--tokenizer",
        action="append",
        default=[],
        help="where a tokenizer of this machine lies, if it is no longer where the run had it",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write what datasets are made of, and how they differ.

    Raises:
        CodedataError: one is none, or does not say what it was made of.
    """
    with TERMINAL.waiting("loading the report"):
        # Compiled code and a template engine, half a second that the other commands do not need.
        from codedata.reporting.split_report import report_on, require_writable, write_report

    require_writable(options.output)
    folders = {named: dataset_folder(named) for named in options.datasets}
    ends = Counter(each.absolute().name for each in folders.values())
    titles = {  # of two folders `train`, as the user told them apart
        path.absolute().name if ends[path.absolute().name] == 1 else named: path
        for named, path in folders.items()
    }
    layout = Layout.from_environment()
    with TERMINAL.waiting(f"describing {', '.join(titles)}"):
        made = report_on(layout, list(titles), folders=titles, tokenizers=options.tokenizer)
        num_bytes = write_report(options.output, made)
    for split in made.splits:
        if split.no_windows:
            say(f"{split.name}: no documents: {split.no_windows}", error=True)
    names = ", ".join(split.name for split in made.splits)
    say(f"{options.output}: {names}; {num_bytes / 1e3:.0f} kB")
    return 0
