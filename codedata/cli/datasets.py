"""The commands that take datasets: show, report, verify, export, push."""

import argparse
import json
from bisect import bisect_right
from itertools import accumulate

from codedata.errors import CodedataError
from codedata.layout import Layout, is_repo
from codedata.printable import fail, say
from codedata.progress import TERMINAL
from codedata.store.dataset_folder import Dataset, open_dataset

_SHOWN_TOKENS = 400


def show(options: argparse.Namespace) -> int:
    """Say what is in a dataset folder."""
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
        return fail(
            "codedata",
            f"there is no sample {options.sample} in {dataset.folder}: there are "
            f"{dataset.num_samples}; name one from 0 to {dataset.num_samples - 1}",
        )
    sample = _sample(dataset, options.sample)[:_SHOWN_TOKENS]
    say(f"Sample {options.sample}, its first {len(sample)} tokens:")
    if options.tokenizer is None:
        say(str(sample))
        return 0
    from codedata.tokenize.tokenizer import load_tokenizer
    from codedata.tokenize.tokenizer_files import find_tokenizer

    tokenizer = load_tokenizer(find_tokenizer(options.tokenizer)).tokenizer
    say(tokenizer.decode(sample, skip_special_tokens=False))
    return 0


def _sample(dataset: Dataset, index: int) -> list[int]:
    ends = list(accumulate(len(ids) for ids in dataset.shards))
    shard = bisect_right(ends, index)
    return dataset.shards[shard][index - ends[shard]].tolist()


def report(options: argparse.Namespace) -> int:
    """Write what splits are made of, and how they differ."""
    # Compiled code and a template engine, half a second that the other commands do not need.
    from codedata.reporting.split_report import report_on, require_writable, write_report

    require_writable(options.output)
    layout = Layout.from_environment()
    made = report_on(layout, options.splits, tokenizers=options.tokenizer)
    num_bytes = write_report(options.output, made)
    for split in made.splits:
        if split.no_windows:
            say(f"{split.name}: no documents: {split.no_windows}", error=True)
    names = ", ".join(split.name for split in made.splits)
    say(f"{options.output}: {names}; {num_bytes / 1e3:.0f} kB")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check structure, counts and hashes of datasets."""
    status = 0
    for folder in options.folder:
        try:
            dataset = open_dataset(folder, verify=True)
        except CodedataError as error:
            status = fail("codedata", str(error))
        else:
            say(
                f"{folder}: whole; {len(dataset.shards)} files, {dataset.num_samples} samples, "
                f"{dataset.num_tokens} tokens, digest {dataset.digest}"
            )
    return status


def export(options: argparse.Namespace) -> int:
    """Write a dataset in another format."""
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


def push(options: argparse.Namespace) -> int:
    """Upload a dataset to the hub."""
    if not is_repo(options.repo):
        return fail("codedata", f"repo is {options.repo!r}; write it as owner/name")
    # A second of imports that the other commands do not need.
    from codedata.hub.datasets import push_dataset
    from codedata.hub.refusals import HubError

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
        return fail(
            "codedata", f"the hub does not take {options.folder} as {options.repo}: {error}"
        )
    say(f"{options.folder} is on the hub: {address}")
    return 0
