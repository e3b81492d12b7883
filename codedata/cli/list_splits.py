"""`codedata list`: each split and mixture of the code location: made, stale and why, or missing."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from codedata.cli.code_location import add_module_option, find_code_location, load_definitions
from codedata.cli.commands import Commands
from codedata.cli.corpus_files import load_with_files
from codedata.cli.dataset_names import layout_of_root, shown_path
from codedata.cli.mixtures import MixtureState, mixture_states
from codedata.cli.split_states import SplitState, states_of
from codedata.printable import say

_DIGEST_CHARS = 12
"""Of a digest in the table, which is for eyes; JSON has it whole."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "list",
        help="the splits of this project, and their state",
        description="Say of each split of the project whether its dataset is made, is stale and "
        "why, or is missing.",
        epilog="--json: an object with module, root, and splits, each with name, state (made, "
        "stale, missing, damaged), why (a list of lines), folder, samples, seq_length, tokens and "
        "digest; the last four are null where there is no dataset. And mixtures, each with name, "
        "state, why, path of its record, samples and digest.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="first ask anew for the files of corpora that are named by patterns, or by the "
        "configuration and split of a dataset, at the newest commit",
    )
    add_module_option(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the splits.

    Raises:
        CodedataError: the definitions cannot be loaded.
    """
    layout = layout_of_root()
    location = find_code_location(options.module, Path.cwd())
    if options.refresh:
        defs = load_with_files(location, layout, None, refresh=True)
    else:
        defs = load_definitions(location)
    states, mixtures = states_of(defs, layout), mixture_states(defs, layout)
    if options.json:
        found = {
            "module": location.module,
            "root": layout.shown,
            "splits": [state.as_json() for state in states],
            "mixtures": [state.as_json() for state in mixtures],
        }
        print(json.dumps(found, indent=2))
        return 0
    if not states:
        say(f"{location.module} defines no splits; docs/howto/new-split.md says how to")
    else:
        is_above = location.is_above
        project = f" of {location.folder}" if is_above else ""
        root = layout.shown if is_above else shown_path(layout.url or layout.root)
        say(f"splits of {location.module}{project}, below {root}")
    _say_rows(states, [_row(state) for state in states])
    if mixtures:
        say("mixtures of them")
        _say_rows(mixtures, [_mixture_row(state) for state in mixtures])
    return 0


def _say_rows(states: Sequence[SplitState | MixtureState], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for state, row in zip(states, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        say("  ".join(cells).rstrip())
        for why in state.why:
            say(f"{'':{widths[0]}}  {why}")


def _row(state: SplitState) -> list[str]:
    counts = ""
    if state.num_samples is not None:
        counts = f"{state.num_samples:,} samples of {state.seq_length:,} tokens"
    digest = (state.digest or "")[:_DIGEST_CHARS]
    return [state.name, state.state, counts, digest, shown_path(state.folder)]


def _mixture_row(state: MixtureState) -> list[str]:
    counts = "" if state.num_samples is None else f"{state.num_samples:,} samples"
    digest = (state.digest or "")[:_DIGEST_CHARS]
    return [state.name, state.state, counts, digest, shown_path(state.path)]
