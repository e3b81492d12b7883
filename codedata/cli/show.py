"""`codedata show`: what is in a dataset, what it was made of, and one sample, decoded."""

import argparse
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict
from itertools import accumulate
from typing import Any

from codedata.arguments import whole_number
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import add_dataset, open_named
from codedata.errors import DatasetError
from codedata.format.documents import DocumentCounts
from codedata.format.facts import samples_by_corpus
from codedata.layout import Layout
from codedata.printable import say
from codedata.store.dataset_folder import Dataset

_SHOWN_TOKENS = 400

_SHOWN_SHARDS = 100
"""Each is read for its smallest and largest id."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="what is in a dataset, one sample decoded",
        description="Say what is in a dataset, and decode one of its samples.",
        epilog="--json: an object with folder, url (where it is a copy of what is there), files, "
        "samples, seq_length, tokens, padding, samples_by_corpus, digest, tokenizer, "
        "tokenizer_sha256, command, switches, recipe, documents (of a recipe's, what became of "
        "them), and sample: index, input_ids (all of them), text; null is what the dataset does "
        "not say, and a text that nothing here decodes.",
    )
    add_dataset(parser)
    parser.add_argument(
        "--tokenizer",
        help="decode with this hub name, folder or tokenizer.json (default: the dataset's own, "
        "where it is on this machine)",
    )
    parser.add_argument("--sample", type=whole_number, default=0, help="which sample (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Say what is in a dataset.

    Raises:
        DatasetError: it is none, or has no such sample.
        TokenizerError: the tokenizer that was named cannot be had.
    """
    dataset = open_named(options.dataset)
    if not 0 <= options.sample < dataset.num_samples:
        raise DatasetError(
            f"there is no sample {options.sample} in {dataset.where}: there are "
            f"{dataset.num_samples}; name one from 0 to {dataset.num_samples - 1}"
        )
    ids = _sample(dataset, options.sample)
    text, why = _decoded(dataset, ids if options.json else ids[:_SHOWN_TOKENS], options.tokenizer)
    if options.json:
        print(json.dumps(_as_json(dataset, options.sample, ids, text)))
        return 0
    _say_counts(dataset)
    shown = ids[:_SHOWN_TOKENS]
    say(f"Sample {options.sample}, its first {len(shown)} tokens{why}:")
    say(str(shown) if text is None else text)
    return 0


def _say_counts(dataset: Dataset) -> None:
    say(f"{dataset.where}: {dataset.num_shards} files")
    say(f"Samples: {dataset.num_samples} of {dataset.seq_length} tokens")
    padding = "" if dataset.num_padding is None else f", of them {dataset.num_padding} padding"
    say(f"Tokens: {dataset.num_tokens}{padding}")
    for corpus, count in (_by_corpus(dataset) or {}).items():
        say(f"  of {corpus}: {count} samples, {count * dataset.seq_length} tokens")
    if dataset.facts is not None and dataset.facts.documents is not None:
        _say_documents(dataset.facts.recipe or {}, dataset.facts.documents)
    say(f"Digest: {dataset.digest}")
    for index, entry in enumerate(dataset.entries[:_SHOWN_SHARDS]):
        ids = dataset.shards[index]
        chars = f", characters {entry.chars.start} to {entry.chars.stop}" if entry.chars else ""
        span = f"ids {ids.min()} to {ids.max()}"
        say(f"  dump-{index}.pkl: {entry.num_samples} samples, {span}{chars}")
    if dataset.num_shards > _SHOWN_SHARDS:
        say(f"  and {dataset.num_shards - _SHOWN_SHARDS} more")


def _say_documents(recipe: Mapping[str, Any], counts: DocumentCounts) -> None:
    """Say how documents became samples, and what became of them."""
    documents, fim = recipe.get("documents", {}), recipe.get("fim")
    framing = [documents.get("bos"), "document", documents.get("eos")]
    asked = f", fill-in-the-middle of {fim['rate']} by {fim['level']}" if fim else ""
    framed = " ".join(each for each in framing if each)
    say(f"Recipe: {framed}, order {recipe.get('order')}, packing {recipe.get('packing')}{asked}")
    left_out = {"empty": counts.empty, "with control tokens": counts.with_control_tokens}
    less = "".join(f", {number} {why}" for why, number in left_out.items() if number)
    kept = counts.documents - sum(left_out.values())
    cut = f"{counts.cut} in several samples, {counts.cut_though_short} of them short enough for one"
    say(f"Documents: {kept}{less and f' ({less[2:]} left out)'}; {cut}")
    if fim:
        forms = f"{counts.psm} prefix first, {counts.spm} suffix first"
        plain = f"{counts.fim_too_long} drawn and too long, {counts.fim_left_plain} left plain"
        say(f"Pieces: {counts.pieces}; {forms}, {plain}")


def _as_json(dataset: Dataset, index: int, ids: list[int], text: str | None) -> dict[str, Any]:
    """What the page of commands says of `show --json`."""
    facts = dataset.facts
    return {
        "folder": str(dataset.folder.absolute()),
        **({} if dataset.url is None else {"url": dataset.url}),
        "files": len(dataset.entries),
        "samples": dataset.num_samples,
        "seq_length": dataset.seq_length,
        "tokens": dataset.num_tokens,
        "padding": dataset.num_padding,
        "samples_by_corpus": _by_corpus(dataset),
        "digest": dataset.digest,
        "tokenizer": facts and facts.tokenizer.source,
        "tokenizer_sha256": facts and facts.tokenizer.sha256,
        "command": facts and facts.command,
        "switches": facts and dict(facts.switches),
        "recipe": facts and facts.recipe and dict(facts.recipe),
        "documents": facts and facts.documents and asdict(facts.documents),
        "sample": {"index": index, "input_ids": ids, "text": text},
    }


def _by_corpus(dataset: Dataset) -> dict[str, int] | None:
    """How many samples are of each of several corpora; None where it is one."""
    facts = dataset.facts
    return (samples_by_corpus(facts, dataset.entries) or None) if facts else None


def _sample(dataset: Dataset, index: int) -> list[int]:
    ends = list(accumulate(entry.num_samples for entry in dataset.entries))
    shard = bisect_right(ends, index)
    return dataset.shards[shard][index - ends[shard]].tolist()


def _decoded(dataset: Dataset, ids: list[int], named: str | None) -> tuple[str | None, str]:
    """The text of ids; without a tokenizer None, and why."""
    from codedata.tokenize.made_with import tokenizer_here
    from codedata.tokenize.tokenizer import load_tokenizer
    from codedata.tokenize.tokenizer_files import find_tokenizer

    if named is not None:
        files = find_tokenizer(named)
    elif dataset.facts is None:
        return None, " (it does not say whose; --tokenizer names one to decode with)"
    elif (files := tokenizer_here(dataset.facts, Layout.from_environment())) is None:
        source = dataset.facts.tokenizer.source
        return None, f" (of {source}, which is not here; --tokenizer names one to decode with)"
    return load_tokenizer(files).tokenizer.decode(ids, skip_special_tokens=False), ""
