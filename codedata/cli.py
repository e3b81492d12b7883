"""The command line: materialize splits; show, report, verify, export and push datasets.

Exit status: 0 done, 1 refused, failed or damaged, 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import logging
import re
import sys
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codedata.arguments import path, whole_number
from codedata.environment import take_env_file
from codedata.errors import CodedataError, SettingsError
from codedata.instance import open_instance, prepare_dagster_home
from codedata.layout import Layout, is_repo
from codedata.printable import print_anything, say
from codedata.progress import SHOW_BARS, TERMINAL
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.store.locks import NO_LOCK_HELP, go_without_locks
from codedata.store.permission import explained, explained_at

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

_SHOWN_TOKENS = 400

_NO_SUCH_ASSET = re.compile(
    r'for asset job "(\w+)": .*Invalid selected keys: \{AssetKey\(\[(.*?)\]\)', re.DOTALL
)

_OF_PATH = re.compile(r"^\[Errno \d+\] [^:]*: '([^']*)'")
"""What Python says of an error with a path."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="codedata",
        description="Tokenized, packed and checked datasets of source code.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

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
    materialize.set_defaults(run=_materialize)

    show = commands.add_parser("show", help="say what is in a dataset folder")
    show.add_argument("folder", type=path, help="dataset folder")
    show.add_argument(
        "--tokenizer", help="decode a sample with this hub name, folder or tokenizer.json"
    )
    show.add_argument("--sample", type=whole_number, default=0, help="which sample (default 0)")
    show.set_defaults(run=_show)

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
    report.set_defaults(run=_report)

    verify = commands.add_parser("verify", help="check structure, counts and hashes of a dataset")
    verify.add_argument("folder", type=path, nargs="+", help="dataset folder")
    verify.set_defaults(run=_verify)

    export = commands.add_parser("export", help="write a dataset in another format")
    export.add_argument("folder", type=path, help="dataset folder")
    export.add_argument(
        "--to", required=True, choices=["parquet", "npy", "megatron", "mds"], help="the format"
    )
    export.add_argument(
        "--output", type=path, help="folder to make (default: FOLDER-FORMAT, beside the dataset)"
    )
    export.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    export.set_defaults(run=_export)

    push = commands.add_parser("push", help="upload a dataset to the Hugging Face Hub")
    push.add_argument("folder", type=path, help="dataset folder")
    push.add_argument("repo", help="dataset repository, owner/name; made if there is none")
    push.add_argument(
        "--public", action="store_true", help="let anyone see it; by default only you do"
    )
    push.add_argument("--branch", default="main", help="where the commit goes (default main)")
    push.add_argument("--message", help="of the commit; by default it names the digest")
    push.set_defaults(run=_push)
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
        return _fail(str(error))
    except OSError as error:
        return _fail(explained(error))
    except KeyboardInterrupt:
        kept = "; finished chunks are kept" if options.run is _materialize else ""
        say(f"codedata: interrupted{kept}", error=True)
        return 130


def _fail(message: str) -> int:
    say(f"codedata: error: {message}", error=True)
    return 1


def _materialize(options: argparse.Namespace) -> int:
    layout = Layout.from_environment()
    home = prepare_dagster_home(TERMINAL)
    # Seconds of imports that the other commands do not need.
    from dagster._core.errors import DagsterExecutionInterruptedError

    from codedata.components.default_pad import require_fitting_default
    from codedata.components.split_spec import SPLIT_TAG

    jobs = _load_jobs()
    splits = sorted(name for name, job in jobs.items() if SPLIT_TAG in job.tags)
    if unknown := [split for split in options.splits if split not in splits]:
        return _fail(f"there is no split {unknown[0]!r}; there are {', '.join(splits)}")
    for split in options.splits:
        try:
            require_fitting_default(jobs[split].tags, layout, TERMINAL, update=options.update)
        except CodedataError as error:
            return _fail(f"split {split!r}: {error}")
    SHOW_BARS.set(True)
    # Ctrl-C may come while a connection is closed, which its pool would log with a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    made: list[Dataset] = []
    with open_instance(home) as instance:
        for split in options.splits:
            for job, tags in runs_of(jobs, split):
                try:
                    result = job.execute_in_process(
                        instance=instance,
                        raise_on_error=False,
                        run_config=_run_config(job, options),
                        tags=tags,
                    )
                except DagsterExecutionInterruptedError as error:  # Ctrl-C between two steps
                    raise KeyboardInterrupt from error
                if _was_interrupted(result):
                    raise KeyboardInterrupt
                if not result.success:
                    return _fail(f"split {split!r}: {_why(result)}")
            made.append(open_dataset(layout.dataset(split)))
    for dataset in made:
        say(
            f"{dataset.folder}: {len(dataset.shards)} files, {dataset.num_samples} samples of "
            f"{dataset.seq_length} tokens, {dataset.num_tokens} tokens, digest {dataset.digest}"
        )
    return 0


def _load_jobs() -> dict[str, Any]:
    """The jobs of the code location, by name.

    Raises:
        CodedataError: a YAML or an environment variable sets a switch to what it cannot be.
    """
    shown, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        from codedata.definitions import defs

        jobs = [*defs.resolve_all_job_defs()]
    except Exception as error:
        if (cause := user_error(error)) is not None:
            raise cause from error
        raise
    finally:
        warnings.formatwarning = shown
    return {job.name: job for job in jobs if not job.name.startswith("__")}


def _one_line(message: Warning | str, *_: object) -> str:
    return f"codedata: warning: {message}\n"


def user_error(error: BaseException | None) -> CodedataError | None:
    """What a user can mend, out of one of Dagster's errors: our own among its causes, or a YAML."""
    return _own_error(error) or _yaml_error(error) or _missing_asset(error)


def _missing_asset(error: BaseException | None) -> SettingsError | None:
    """A corpus or tokenizer that a split names and no definition makes."""
    while error is not None:
        if found := _NO_SUCH_ASSET.search(str(error)):
            split, key = found[1], "/".join(re.findall(r"'([^']*)'", found[2]))
            return SettingsError(
                f"split {split!r} needs the asset {key!r}, which nothing defines; correct corpus "
                "or tokenizer_asset in its defs.yaml, or add the one it names"
            )
        error = error.__cause__
    return None


def _yaml_error(error: BaseException | None) -> SettingsError | None:
    """What pydantic says of a YAML that does not fit the component, in one line."""
    where, found = "a defs.yaml", list[str]()
    while error is not None:
        first_line = str(error).partition("\n")[0]
        if isinstance(error, ValidationError):
            found = [
                f"{'.'.join(map(str, detail['loc']))} is {detail['input']!r}: {detail['msg']}"
                for detail in error.errors()
            ]
        elif first_line.startswith("Error while loading component "):
            where = first_line.removeprefix("Error while loading ").rstrip(":")
        error = error.__cause__
    if not found:
        return None
    return SettingsError(f"{where}: {'; '.join(dict.fromkeys(found))}; correct its defs.yaml")


def _own_error(error: BaseException | None) -> CodedataError | None:
    """Our own error among the causes of another, pydantic's wrapping included."""
    while error is not None:
        if isinstance(error, CodedataError):
            return error
        if isinstance(error, ValidationError):
            for detail in error.errors():
                cause = detail.get("ctx", {}).get("error")
                if isinstance(cause, CodedataError):
                    return cause
        error = error.__cause__
    return None


def runs_of(jobs: dict[str, Any], split: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """The jobs to run for a split, each with its tags: the files of its corpus, then its own."""
    from codedata.components.raw_corpus import file_key
    from codedata.components.split_spec import FILES_TAG

    files_job, *ranges = jobs[split].tags.get(FILES_TAG, "-").split()
    for each in ranges:
        first, last = map(int, each.split("-"))
        yield (
            jobs[files_job],
            {
                "dagster/asset_partition_range_start": file_key(first),
                "dagster/asset_partition_range_end": file_key(last),
            },
        )
    yield jobs[split], {}


def _run_config(job: Any, options: argparse.Namespace) -> dict[str, Any]:
    ops: dict[str, Any] = {}
    for name in job.graph.node_dict:
        if name.endswith("__raw_parquet"):
            ops[name] = {"config": {"update": options.update}}
        if name.endswith("__token_chunks"):
            ops[name] = {"config": {"force": options.force, "update": options.update}}
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _step_error(result: Any) -> tuple[str, Any] | None:
    """Step and error of the first failure of a run."""
    failures = (event for event in result.all_events if event.is_step_failure)
    return next(((event.step_key, event.step_failure_data.error) for event in failures), None)


def _was_interrupted(result: Any) -> bool:
    failure = _step_error(result)
    return failure is not None and failure[1].cls_name == "DagsterExecutionInterruptedError"


def _why(result: Any) -> str:
    """The message of the error that a run failed with: our own, or the first cause."""
    failure = _step_error(result)
    if failure is None:
        return "the run failed before its first step; `dagster dev` shows its log"
    step, error = failure
    ours = {kind.__name__ for kind in CodedataError.__subclasses__()}
    while error.cause is not None and error.cls_name not in ours:
        error = error.cause
    message = error.message.strip().split("\n")[0]
    said = message.partition(": ")[2] or message
    if found := error.cls_name == PermissionError.__name__ and _OF_PATH.search(said):
        said = explained_at(said, Path(found[1]))
    return f"{step}: {said}"


def _show(options: argparse.Namespace) -> int:
    dataset = open_dataset(options.folder)
    say(f"{dataset.folder}: {len(dataset.shards)} files")
    say(f"Samples: {dataset.num_samples} of {dataset.seq_length} tokens")
    padding = "" if dataset.num_padding is None else f", of them {dataset.num_padding} padding"
    say(f"Tokens: {dataset.num_tokens}{padding}")
    say(f"Digest: {dataset.digest}")
    for index, (entry, ids) in enumerate(zip(dataset.entries, dataset.shards, strict=True)):
        chars = f", characters {entry.chars.start} to {entry.chars.stop}" if entry.chars else ""
        span = f"ids {ids.min()} to {ids.max()}"
        say(f"  dump-{index}.pkl: {entry.num_samples} samples, {span}{chars}")
    if not 0 <= options.sample < dataset.num_samples:
        return _fail(
            f"there is no sample {options.sample} in {dataset.folder}: there are "
            f"{dataset.num_samples}; name one from 0 to {dataset.num_samples - 1}"
        )
    sample = _sample(dataset, options.sample)[:_SHOWN_TOKENS]
    say(f"Sample {options.sample}, its first {len(sample)} tokens:")
    if options.tokenizer is None:
        say(str(sample))
        return 0
    from codedata.tokenize.tokenizer_files import find_tokenizer, load_tokenizer

    tokenizer = load_tokenizer(find_tokenizer(options.tokenizer)).tokenizer
    say(tokenizer.decode(sample, skip_special_tokens=False))
    return 0


def _sample(dataset: Dataset, index: int) -> list[int]:
    ends = list(accumulate(len(ids) for ids in dataset.shards))
    shard = bisect_right(ends, index)
    return dataset.shards[shard][index - ends[shard]].tolist()


def _report(options: argparse.Namespace) -> int:
    # Compiled code and a template engine, half a second that the other commands do not need.
    from codedata.reporting.split_report import report_on, require_writable, write_report

    require_writable(options.output)
    layout = Layout.from_environment()
    report = report_on(layout, options.splits, tokenizers=options.tokenizer)
    num_bytes = write_report(options.output, report)
    for split in report.splits:
        if split.no_documents:
            say(f"{split.name}: no documents: {split.no_documents}", error=True)
    names = ", ".join(split.name for split in report.splits)
    say(f"{options.output}: {names}; {num_bytes / 1e3:.0f} kB")
    return 0


def _verify(options: argparse.Namespace) -> int:
    status = 0
    for folder in options.folder:
        try:
            dataset = open_dataset(folder, verify=True)
        except CodedataError as error:
            status = _fail(str(error))
        else:
            say(
                f"{folder}: whole; {len(dataset.shards)} files, {dataset.num_samples} samples, "
                f"{dataset.num_tokens} tokens, digest {dataset.digest}"
            )
    return status


def _export(options: argparse.Namespace) -> int:
    from codedata.export.exporting import FORMATS, export_dataset  # pyarrow, only where it is used

    dataset, folder = open_dataset(options.folder), options.folder.absolute()
    if folder.name == "..":
        folder = folder.resolve()
    output = options.output or folder.with_name(f"{folder.name}-{options.to}")
    export_dataset(dataset, options.to, output)
    quoted = json.dumps(str(output), ensure_ascii=False)[1:-1]
    say(f"{output}: {dataset.num_samples} samples of {dataset.seq_length} tokens")
    say(f"open it with {FORMATS[options.to].usage.format(folder=quoted)}")
    return 0


def _push(options: argparse.Namespace) -> int:
    if not is_repo(options.repo):
        return _fail(f"repo is {options.repo!r}; write it as owner/name")
    # A second of imports that the other commands do not need.
    from codedata.hub.client import HubError
    from codedata.hub.datasets import push_dataset

    try:
        address = push_dataset(
            options.folder,
            options.repo,
            public=options.public,
            branch=options.branch,
            message=options.message,
            reporter=TERMINAL,
        )
    except HubError as error:
        return _fail(f"the hub does not take {options.folder} as {options.repo}: {error}")
    say(f"{options.folder} is on the hub: {address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
