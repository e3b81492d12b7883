"""The drop-in script: a parquet and the reference's switches -> a dataset folder.

    python -m codedata.tokenize_data --data_file F --tokenization_folder D

Switches, defaults and format are those of the script it replaces (docs/format.md). Finished chunks
are kept beside the target until the dataset is published, so that the same command continues after
an interruption. Exit status: 0 done, 1 refused or failed, 2 unknown switch, 130 interrupted.
"""

import argparse
import shlex
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from tqdm import tqdm

from codedata.arguments import path, whole_number
from codedata.errors import CodedataError, CorpusError
from codedata.format.meta import ShardEntry
from codedata.parallel import (
    ChunkThreads,
    available_cores,
    check_num_workers,
    exit_process,
    limit_library_threads,
)
from codedata.places import local_path
from codedata.printable import print_anything, say
from codedata.recipe.settings import DEFAULT_PAD_TOKEN, Settings, pad_token_of
from codedata.run.pipeline import (
    open_inputs,
    origin_of,
    require_disk_space,
    stage_dataset,
    stored_chunks,
    tokenize_chunks,
)
from codedata.sources.parquet.text import ParquetText
from codedata.store.locks import NO_LOCK_HELP, go_without_locks
from codedata.store.permission import explained
from codedata.store.publishing import check_target, open_staging
from codedata.tokenize.engines.registry import AUTO, engine_choices
from codedata.tokenize.padding import why_not_default
from codedata.tokenize.remembered import place_of, remember_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

_HELP = {
    "tokenizer_base": "hub name, folder or tokenizer.json of the tokenizer",
    "min_sample_length": "a rest of a chunk of this many tokens or fewer is dropped",
    "seq_length": "tokens a sample",
    "max_dump_size": "samples a shard file, at most",
    "pad_token": "id or name of the token that fills up the last sample of a chunk (default: "
    f"{DEFAULT_PAD_TOKEN}, with a warning where that is a token of text)",
    "starting_character": "where in the text to start",
    "chars_to_tokenize": "how many characters to take from there",
    "chunk_size": "characters tokenized at once, each chunk packed for itself",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of the script's switches, one for each field of `Settings` and six more."""
    parser = argparse.ArgumentParser(
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
    for field in fields(Settings):
        is_pad = field.name == "pad_token"  # absent where it is not named, which is told apart
        parser.add_argument(
            f"--{field.name}",
            type=pad_token_of if is_pad else whole_number if field.type is int else str,
            default=argparse.SUPPRESS if is_pad else field.default,
            help=_HELP[field.name],
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
    return parser


def tokenize_data(
    data_file: Path,
    tokenization_folder: Path,
    settings: Settings,
    *,
    num_workers: int,
    engine: str = AUTO,
    pad_is_named: bool = True,
) -> list[ShardEntry]:
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
        The entries of the published meta.

    Raises:
        CodedataError: a switch, the file, the tokenizer or the target is refused.
        OSError: the disk is full or fails; the old dataset stays.
    """
    check_num_workers(num_workers)
    data_file = local_path(data_file, "data_file", error=CorpusError)
    target = check_target(tokenization_folder, inputs=[data_file])
    limit_library_threads(num_workers)
    tokenizer = find_tokenizer(settings.tokenizer_base)
    inputs = open_inputs(ParquetText(data_file), settings, tokenizer, engine=engine)
    settings = inputs.settings
    why = None if pad_is_named else why_not_default(settings.tokenizer_base, inputs.loaded)
    if why is not None:
        say(f"tokenize_data: warning: {why}", error=True)
    inputs.require_fidelity()
    with open_staging(target) as staging:
        chars = inputs.window.cut(settings.chunk_size)
        tasks = [inputs.task(chunk, staging.chunks, threads=num_workers) for chunk in chars]
        chunks = stored_chunks(tasks, root=target.parent)
        finished = {chunk.chars for chunk in chunks}
        missing = [task for task in tasks if task.fingerprint.chars not in finished]
        require_disk_space([inputs], missing, target)
        with (
            tqdm(
                desc="Tokenizing",
                total=inputs.window.num_chars,
                initial=sum(chunk.chars.num_chars for chunk in chunks),
                unit="char",
                unit_scale=True,
            ) as bar,
            ChunkThreads(num_workers) as executor,
        ):
            for chunk in tokenize_chunks(missing, executor):
                chunks.append(chunk)
                bar.update(chunk.chars.num_chars)
        chunks.sort(key=lambda chunk: chunk.chars)
        command = _command(data_file, target, replace(settings, tokenizer_base=place_of(tokenizer)))
        corpus = {"path": str(inputs.text.path), "sha256": inputs.text.sha256}
        origin = origin_of(tokenizer, chunks, command, corpus)
        entries = stage_dataset(chunks, settings, staging, origin, num_workers=num_workers)
        staging.publish()
        staging.discard_chunks()
    remember_tokenizer(tokenizer)
    return entries


def _command(data_file: Path, tokenization_folder: Path, settings: Settings) -> str:
    """The command line that makes a dataset, its switches that are not the defaults."""
    defaults = Settings().as_dict()
    switches = {"data_file": data_file, "tokenization_folder": tokenization_folder} | {
        name: value for name, value in settings.as_dict().items() if value != defaults[name]
    }
    options = [part for name, value in switches.items() for part in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "codedata.tokenize_data", *options])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; its exit status."""
    print_anything()
    switches = vars(build_parser().parse_args(arguments))
    data_file, folder = switches.pop("data_file"), switches.pop("tokenization_folder")
    num_workers, engine = switches.pop("num_workers"), switches.pop("engine")
    if switches.pop("no_lock"):
        go_without_locks()
    started = time.monotonic()
    try:
        entries = tokenize_data(
            data_file,
            folder,
            Settings(**switches),
            num_workers=num_workers,
            engine=engine,
            pad_is_named="pad_token" in switches,
        )
    except CodedataError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(
            f"{explained(error)}; {folder} holds what it held before, or the new dataset whole"
        )
    except KeyboardInterrupt:
        say(
            "tokenize_data: interrupted; finished chunks are kept, the same command continues",
            error=True,
        )
        return 130
    seconds = time.monotonic() - started
    num_samples = sum(entry.num_samples for entry in entries)
    num_tokens = sum(entry.num_tokens for entry in entries)
    say(f"Wrote {len(entries)} files to {folder} in {seconds:.1f} s")
    say(f"Total samples: {num_samples}")
    say(f"Total tokens: {num_tokens}")
    return 0


def _fail(message: str) -> int:
    say(f"tokenize_data: error: {message}", error=True)
    return 1


if __name__ == "__main__":
    exit_process(main())
