"""The command line: materialize splits; show, report, verify, export and push datasets.

Exit status: 0 done, 1 refused, failed or damaged, 2 wrong usage, 130 interrupted.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from codedata.arguments import path, whole_number
from codedata.cli import datasets, init
from codedata.cli.materialize import materialize_splits
from codedata.environment import take_env_file
from codedata.errors import CodedataError
from codedata.printable import fail, print_anything, say
from codedata.store.locks import NO_LOCK_HELP, go_without_locks
from codedata.store.permission import explained

_EXAMPLES = """\
examples:
  codedata materialize demo_train demo_validation   make the embedded demo
  codedata materialize train --force                tokenize everything again
  codedata show data/datasets/train                 what is in a dataset
  codedata report train validation -o report.html   what they are made of, and compared
  codedata verify data/datasets/train               recompute every hash
  codedata export data/datasets/train --to parquet  for other readers
  codedata push data/datasets/train me/c-train      upload it, privately

Everything goes below $CODEDATA_ROOT, by default ./data.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="codedata",
        description="Tokenized, packed and checked datasets of source code.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    init.add_parser(commands)

    materialize = commands.add_parser("materialize", help="make the datasets of splits")
    materialize.add_argument("splits", nargs="+", metavar="SPLIT", help="name of a split")
    materialize.add_argument(
        "--force", action="store_true", help="tokenize again what is stored and right"
    )
    materialize.add_argument(
        "--update",
        action="store_true",
        help="take the newest commit of the hub's branches and tags, not the one kept here",
    )
    materialize.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    materialize.set_defaults(run=materialize_splits)

    show = commands.add_parser("show", help="say what is in a dataset folder")
    show.add_argument("folder", type=path, help="dataset folder")
    show.add_argument(
        "--tokenizer", help="decode a sample with this hub name, folder or tokenizer.json"
    )
    show.add_argument("--sample", type=whole_number, default=0, help="which sample (default 0)")
    show.set_defaults(run=datasets.show)

    report = commands.add_parser(
        "report", help="write what splits are made of, and how they differ, as one HTML file"
    )
    report.add_argument(
        "splits", nargs="+", metavar="SPLIT", help="each is compared with those named before it"
    )
    report.add_argument(
        "-o", "--output", type=path, default=Path("report.html"), help="default: report.html"
    )
    report.add_argument(
        "--tokenizer",
        action="append",
        default=[],
        help="where a tokenizer of this machine lies, if it is no longer where the run had it",
    )
    report.set_defaults(run=datasets.report)

    verify = commands.add_parser("verify", help="check structure, counts and hashes of a dataset")
    verify.add_argument("folder", type=path, nargs="+", help="dataset folder")
    verify.set_defaults(run=datasets.verify)

    export = commands.add_parser("export", help="write a dataset in another format")
    export.add_argument("folder", type=path, help="dataset folder")
    export.add_argument(
        "--to", required=True, choices=["parquet", "npy", "megatron", "mds"], help="the format"
    )
    export.add_argument(
        "--output", type=path, help="folder to make (default: FOLDER-FORMAT, beside the dataset)"
    )
    export.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    export.set_defaults(run=datasets.export)

    push = commands.add_parser("push", help="upload a dataset to the Hugging Face Hub")
    push.add_argument("folder", type=path, help="dataset folder")
    push.add_argument("repo", help="dataset repository, owner/name; made if there is none")
    push.add_argument(
        "--public", action="store_true", help="let anyone see it; by default only you do"
    )
    push.add_argument("--branch", default="main", help="where the commit goes (default main)")
    push.add_argument("--message", help="of the commit; by default it names the digest")
    push.set_defaults(run=datasets.push)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    print_anything()
    options = build_parser().parse_args(arguments)
    try:
        take_env_file()
        if getattr(options, "no_lock", False):
            go_without_locks()
        return options.run(options)
    except CodedataError as error:
        return fail("codedata", str(error))
    except OSError as error:
        return fail("codedata", explained(error))
    except KeyboardInterrupt:
        kept = "; finished chunks are kept" if options.run is materialize_splits else ""
        say(f"codedata: interrupted{kept}", error=True)
        return 130
