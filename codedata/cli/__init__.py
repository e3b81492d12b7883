"""The command line, assembled: a module a command, grouped by what a user wants.

Each module has `add_parser(commands)`, which adds its subparser and sets `run`, and
`run(options) -> int`, the exit status: 0 done, 1 refused, failed or damaged, 2 wrong usage, 130
interrupted, 141 where whoever read the output has gone.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from codedata.arguments import Parser, add_verbosity, add_version, hinted
from codedata.cli import (
    clean,
    completion,
    corpus,
    export,
    fetch,
    init,
    list_splits,
    materialize,
    prune,
    push,
    report,
    show,
    tokenizer,
    verify,
)
from codedata.cli.code_location import add_module_option
from codedata.cli.commands import Commands
from codedata.environment import take_env_file
from codedata.errors import CodedataError
from codedata.printable import fail, print_anything, say
from codedata.progress import Verbosity, telling
from codedata.store.locks import go_without_locks
from codedata.store.owners import explained

_GROUPS = {
    "make": [init, materialize],
    "look": [list_splits, show, report, verify, tokenizer, corpus],
    "share": [export, push, fetch],
    "set up": [clean, prune, completion],
}

_EXAMPLES = """\
examples:
  codedata materialize demo_train demo_validation   make the embedded demo
  codedata show demo_train                          what is in it, a sample decoded
  codedata report demo_train demo_validation        what they are made of, and compared
  codedata verify demo_train                        recompute every hash
  codedata tokenizer my_tokenizer                   its engine and why, ids, how fast
  codedata corpus 'data/*.jsonl.zst'                its columns and documents, the YAML that fits
  codedata export demo_train --to parquet           for other readers
  codedata push demo_train me/c-train               upload it, privately
  codedata fetch me/c-train c-train                 and have it elsewhere

A dataset is named by its split, or by its folder or URL. Everything goes below
$CODEDATA_ROOT, by default ./data; that may be an object store, s3://bucket/prefix.
"""

_READER_GONE = 141
"""128 and SIGPIPE's 13: what shells give of tools that the signal ends."""


def build_parser(*, for_shell: bool = False) -> argparse.ArgumentParser:
    """The parser of all commands; `for_shell` is one for completion, its help not for people."""
    parser = Parser(
        prog="codedata",
        usage="%(prog)s [-h] [--version] [-m MODULE] [-q | -v] COMMAND ...",
        description="Tokenized, packed and checked datasets of source code.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_version(parser)
    add_module_option(parser)
    add_verbosity(parser)
    parser.set_defaults(run=None)
    commands = Commands(parser, for_shell=for_shell)
    for title, modules in _GROUPS.items():
        commands.begin_group(title)
        for module in modules:
            module.add_parser(commands)
    parser.epilog = f"{commands}\n\n{_EXAMPLES}"
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    print_anything()
    status = 0
    try:
        try:
            parser = build_parser()
            options = parser.parse_args(arguments)
            with telling(options.verbosity):
                status = _run(parser, options)
        finally:
            print(end="", flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        _write_no_more()
        return _READER_GONE
    except OSError as error:  # of stdout, whose disk is full
        _write_no_more()
        return status or fail("codedata", explained(error))
    return status


def _write_no_more() -> None:
    """Let what is left for stdout go nowhere: the interpreter would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        take_env_file()
        if getattr(options, "no_lock", False):
            go_without_locks()
        return _overview(parser, options) if options.run is None else options.run(options)
    except BrokenPipeError:
        raise
    except (CodedataError, OSError) as error:
        if options.verbosity is Verbosity.VERBOSE:
            traceback.print_exc()
        why = explained(error) if isinstance(error, OSError) else str(error)
        return fail("codedata", hinted(why, options.module))
    except KeyboardInterrupt:
        kept = "; finished chunks are kept" if options.run is materialize.run else ""
        say(f"codedata: interrupted{kept}", error=True)
        return 130


def _overview(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """What `codedata` alone says: its commands, and the splits here."""
    commands, _, _ = (parser.epilog or "").partition("examples:")
    say(f"{parser.description}\n\n{commands}codedata COMMAND --help says more.\n")
    sys.stdout.flush()  # before seconds of imports
    return list_splits.run(argparse.Namespace(**vars(options), json=False, refresh=False))
