"""The drop-in script: a parquet and the reference's switches -> a dataset folder.

    python -m codedata.tokenize_data --data_file F --tokenization_folder D

Switches, defaults and format are those of the script it replaces (docs/format.md). Finished chunks
are kept beside the target until the dataset is published, so that the same command continues after
an interruption. Exit status: 0 done, 1 refused or failed, 2 unknown switch, 130 interrupted.
"""

import argparse
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codedata.arguments import (
    Parser,
    add_verbosity,
    add_version,
    number_or_all,
    path,
    whole_number,
)
from codedata.errors import CodedataError, CorpusError
from codedata.parallel import (
    available_cores,
    check_num_workers,
    exit_process,
    limit_library_threads,
    loading_for_good,
)
from codedata.places import local_path
from codedata.printable import fail, print_anything, say
from codedata.progress import TERMINAL, Verbosity, telling
from codedata.recipe.settings import SWITCHES, Settings, Switch
from codedata.run.build import build_planned
from codedata.run.plan import open_plan
from codedata.sources.parquet.footer import Parquet
from codedata.sources.parquet.text import ParquetText
from codedata.store.dataset_folder import Dataset
from codedata.store.locks import NO_LOCK_HELP, go_without_locks
from codedata.store.owners import explained
from codedata.store.publishing import check_target
from codedata.tokenize.engines.registry import AUTO, engine_choices
from codedata.tokenize.padding import why_not_default
from codedata.tokenize.tokenizer_files import find_tokenizer


def build_parser() -> argparse.ArgumentParser:
    """The parser of the script's switches, one for each of `SWITCHES` and some more."""
    parser = Parser(
        prog="tokenize_data",
        description="Tokenize a parquet of source code into a folder of packed samples.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data_file", type=path, required=True, help="parquet file with a column 'content'"
    )
    parser.add_argument(
        "--tokenization_folder", type=path, required=True, help="where the dataset goes"
    )
    for name, switch in SWITCHES.items():
        is_pad = name == "pad_token"  # absent where it is not named, which is told apart
        parser.add_argument(
            f"--{name}",
            type=_type_of(switch),
            default=argparse.SUPPRESS if is_pad else switch.default,
            help=f"{switch.help} (default: {switch.default})" if is_pad else switch.help,
        )
    parser.add_argument(
        "--num_workers",
        type=whole_number,
        default=available_cores(),
        help="threads that tokenize",
    )
    parser.add_argument(
        "--engine",
        choices=engine_choices(),
        default=AUTO,
        help="how to tokenize, the ids being the same; auto is the fastest that is proven exact",
    )
    parser.add_argument("--no_lock", "--no-lock", action="store_true", help=NO_LOCK_HELP)
    add_verbosity(parser)
    add_version(parser)
    return parser


def _type_of(switch: Switch) -> Callable[[str], int | str]:
    if switch.takes_all:
        return number_or_all
    return whole_number if switch.type is int else switch.parse


def tokenize_data(
    data_file: Path,
    tokenization_folder: Path,
    settings: Settings,
    *,
    num_workers: int,
    engine: str = AUTO,
    pad_is_named: bool = True,
) -> Dataset:
    """Make the dataset of one parquet's window.

    Args:
        data_file: the parquet.
        tokenization_folder: the dataset's folder; an old dataset in it is replaced whole.
        settings: the switches.
        num_workers: threads that tokenize.
        engine: how to tokenize; the ids are the same.
        pad_is_named: whether the pad token was chosen; of a default that does not fit the
            tokenizer, stderr is told.

    Returns:
        The published dataset.

    Raises:
        CodedataError: a switch, the file, the tokenizer or the target is refused.
        OSError: the disk is full or fails; the old dataset stays.
    """
    check_num_workers(num_workers)
    data_file = local_path(data_file, "data_file", error=CorpusError)
    target = check_target(tokenization_folder, inputs=[data_file])
    limit_library_threads(num_workers)
    Parquet(data_file)  # refused before the hub is asked, and long before its bytes are hashed
    with loading_for_good():
        tokenizer = find_tokenizer(settings.tokenizer_base)
        plan = open_plan({0: ParquetText(data_file)}, settings, tokenizer, engine=engine)
    why = None if pad_is_named else why_not_default(settings.tokenizer_base, plan.loaded)
    if why is not None:
        say(f"tokenize_data: warning: {why}", error=True)
    return build_planned(plan, target, num_workers=num_workers, reporter=TERMINAL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; its exit status."""
    print_anything()
    switches = vars(build_parser().parse_args(arguments))
    with telling(switches["verbosity"]):
        return _run(**switches)


def _run(
    *,
    data_file: Path,
    tokenization_folder: Path,
    num_workers: int,
    engine: str,
    no_lock: bool,
    verbosity: Verbosity,
    **switches: Any,
) -> int:
    if no_lock:
        go_without_locks()
    started = time.monotonic()
    try:
        dataset = tokenize_data(
            data_file,
            tokenization_folder,
            Settings(**switches),
            num_workers=num_workers,
            engine=engine,
            pad_is_named="pad_token" in switches,
        )
    except (CodedataError, OSError) as error:
        if verbosity is Verbosity.VERBOSE:
            traceback.print_exc()
        return fail("tokenize_data", _said(error, tokenization_folder))
    except KeyboardInterrupt:
        say(
            "tokenize_data: interrupted; finished chunks are kept, the same command continues",
            error=True,
        )
        return 130
    seconds = time.monotonic() - started
    say(f"Wrote {len(dataset.entries)} files to {tokenization_folder} in {seconds:.1f} s")
    say(f"Total samples: {dataset.num_samples}")
    say(f"Total tokens: {dataset.num_tokens}")
    return 0


def _said(error: CodedataError | OSError, folder: Path) -> str:
    if isinstance(error, CodedataError):
        return str(error)
    return f"{explained(error)}; {folder} holds what it held before, or the new dataset whole"


if __name__ == "__main__":
    exit_process(main())
