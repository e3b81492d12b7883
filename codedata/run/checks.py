"""A staged or published dataset -> what was checked of it, with the numbers; no dagster.

Each check compares what the dataset's files say with what they must say by another route: the
chunks they were packed from, the switches, the vocabulary, the published counts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from codedata.errors import CheckFailedError, DatasetError
from codedata.format.meta import ShardEntry
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.parallel import side_by_side
from codedata.printable import first_ten
from codedata.recipe.settings import Settings
from codedata.sources.record import Corpus
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.store.files import release_pages

KNOWN_REPO = "bigcode/the-stack"
KNOWN_PATH = "data/c/train-00000-of-00257.parquet"
KNOWN_COUNTS = (2759, 2922, 3063, 2631, 2691, 2511, 2658, 2932, 2536, 2587)
"""Samples a shard that the reference script published for that file with the defaults."""


@dataclass(frozen=True, kw_only=True)
class CheckOutcome:
    """The result of one check.

    Attributes:
        passed: whether all is right.
        description: what was found, in a sentence.
        numbers: the figures it was judged by.
    """

    passed: bool
    description: str
    numbers: dict[str, int | str]


@dataclass(frozen=True, kw_only=True)
class FoundShard:
    """What was found of a shard as it lies, every byte of it read.

    Attributes:
        num_samples: its rows.
        seq_length: tokens of each.
        smallest: of its ids.
        largest: of its ids.
    """

    num_samples: int
    seq_length: int
    smallest: int
    largest: int

    @classmethod
    def of(cls, ids: IdArray) -> "FoundShard":
        """That of a shard's ids, shape (num_samples, seq_length)."""
        num_samples, seq_length = ids.shape
        smallest, largest = bounds_of(ids)
        return cls(
            num_samples=num_samples, seq_length=seq_length, smallest=smallest, largest=largest
        )


def num_samples_of(settings: Settings, chunk: TokenChunk) -> int:
    """How many samples a chunk gives."""
    if chunk.num_samples is not None:
        return chunk.num_samples
    return settings.count_samples(chunk.num_tokens)


def check_dataset(
    folder: Path, chunks: Sequence[TokenChunk], settings: Settings, vocab_size: int
) -> tuple[Dataset | None, dict[str, CheckOutcome]]:
    """Read a dataset, every byte, and check it against the chunks and switches it was made with.

    Returns:
        The dataset, and the outcomes of `integrity`, `sample_counts`, `sequence_lengths` and
        `token_ids`; without integrity no dataset, and no other outcome.
    """
    try:
        dataset = open_dataset(folder, verify=True)
    except DatasetError as error:
        return None, not_whole(str(error))
    shards = side_by_side(partial(_find_shard, dataset), range(dataset.num_shards))
    return dataset, check_shards(dataset.entries, shards, chunks, settings, vocab_size)


def check_shards(
    entries: Sequence[ShardEntry],
    shards: Sequence[FoundShard],
    chunks: Sequence[TokenChunk],
    settings: Settings,
    vocab_size: int,
) -> dict[str, CheckOutcome]:
    """Judge what was found of shards whose every byte and hash was read and is right.

    Args:
        entries: what the meta says of them.
        shards: what was found of each.
        chunks: that they were packed from.
        settings: the switches.
        vocab_size: of the tokenizer.
    """
    return {
        "integrity": _integrity(entries, shards),
        "sample_counts": _sample_counts(entries, shards, chunks, settings),
        "sequence_lengths": _sequence_lengths(shards, settings),
        "token_ids": check_ids(
            min(shard.smallest for shard in shards),
            max(shard.largest for shard in shards),
            vocab_size,
        ),
    }


def require_passed(outcomes: Mapping[str, CheckOutcome]) -> None:
    """Refuse to publish what did not pass a check.

    Raises:
        CheckFailedError: naming the first that failed.
    """
    for name, outcome in outcomes.items():
        if not outcome.passed:
            raise CheckFailedError(f"{name}: {outcome.description}; nothing was published")


def not_whole(why: str) -> dict[str, CheckOutcome]:
    """The outcome of a dataset that is not whole: nothing else is looked at."""
    return {"integrity": CheckOutcome(passed=False, description=why, numbers={})}


def _integrity(entries: Sequence[ShardEntry], shards: Sequence[FoundShard]) -> CheckOutcome:
    samples = sum(shard.num_samples for shard in shards)
    tokens = sum(shard.num_samples * shard.seq_length for shard in shards)
    stated = (sum(e.num_samples for e in entries), sum(e.num_tokens for e in entries))
    right = (samples, tokens) == stated
    wrong = f"the meta's totals are not those of the shards: {samples} samples, {tokens} tokens"
    return CheckOutcome(
        passed=right,
        description="every byte, hash and total of shards and meta agrees" if right else wrong,
        numbers={"shards": len(shards), "samples": samples, "tokens": tokens},
    )


def _sample_counts(
    entries: Sequence[ShardEntry],
    shards: Sequence[FoundShard],
    chunks: Sequence[TokenChunk],
    settings: Settings,
) -> CheckOutcome:
    found = Counter[CharRange | None]()
    for entry, shard in zip(entries, shards, strict=True):
        found[entry.chars] += shard.num_samples
    expected = {chunk.chars: num_samples_of(settings, chunk) for chunk in chunks}
    wrong = [
        f"{chars.key} has {found[chars]} of {must}"
        for chars, must in expected.items()
        if found[chars] != must
    ]
    num_samples = sum(entry.num_samples for entry in entries)
    if extra := num_samples - sum(found[chars] for chars in expected):
        wrong.append(f"{extra} are of no chunk")
    right = "each chunk gave as many samples as its tokens and the switches say"
    total = sum(expected.values())
    return CheckOutcome(
        passed=not wrong,
        description=f"samples are missing or too many: {'; '.join(wrong)}" if wrong else right,
        numbers={"samples": num_samples, "expected": total, "chunks": len(chunks)},
    )


def _sequence_lengths(shards: Sequence[FoundShard], settings: Settings) -> CheckOutcome:
    lengths, must = sorted({shard.seq_length for shard in shards}), settings.seq_length
    return CheckOutcome(
        passed=lengths == [must],
        description=f"samples have {' and '.join(map(str, lengths))} tokens, seq_length is {must}",
        numbers={"shortest": lengths[0], "longest": lengths[-1], "seq_length": must},
    )


def _find_shard(dataset: Dataset, index: int) -> FoundShard:
    shard = dataset.shards[index]
    found = FoundShard.of(shard)
    release_pages(shard)
    return found


def check_compared(chunks: Sequence[TokenChunk]) -> CheckOutcome:
    """Sum up what was compared of chunks before they were stored; a difference stores nothing."""
    engines = sorted({chunk.engine for chunk in chunks})
    compared = sum(chunk.compared_bytes for chunk in chunks)
    said = "the ids are the tokenizers library's own, of each chunk as one string"
    if compared or engines != ["whole"]:
        said = f"{compared:,} bytes of {len(chunks)} chunks were tokenized again and compared"
    return CheckOutcome(
        passed=True,
        description=said,
        numbers={"compared bytes": compared, "chunks": len(chunks), "engine": ", ".join(engines)},
    )


def bounds_of(ids: IdArray) -> tuple[int, int]:
    """The smallest and the largest of some ids; 0 and 0 of none."""
    return (int(ids.min()), int(ids.max())) if ids.size else (0, 0)


def check_all_ids(
    bounds: Mapping[str, tuple[int, int]], vocab_size: int
) -> tuple[CheckOutcome, dict[str, CheckOutcome]]:
    """Check that the ids of chunks are within a vocabulary.

    Args:
        bounds: the smallest and the largest id, by what they are of.
        vocab_size: of the tokenizer.

    Returns:
        The outcome of all, which names the first that fail, and the outcomes of those.
    """
    failed = {
        name: outcome
        for name, each in bounds.items()
        if not (outcome := check_ids(*each, vocab_size)).passed
    }
    lows, highs = zip(*(bounds.values() or [(0, 0)]), strict=True)
    found = check_ids(min(lows), max(highs), vocab_size)
    if failed:
        found = replace(
            found, description=f"{found.description}; of {first_ten(failed)} they are not in it"
        )
    return found, failed


def check_ids(smallest: int, largest: int, vocab_size: int) -> CheckOutcome:
    """Check that ids are within a vocabulary."""
    return CheckOutcome(
        passed=smallest >= 0 and largest < vocab_size,
        description=f"ids are {smallest} to {largest}, the vocabulary has {vocab_size}",
        numbers={"smallest id": smallest, "largest id": largest, "vocabulary": vocab_size},
    )


def check_known_counts(
    corpora: Sequence[Corpus], settings: Settings, samples_by_shard: Sequence[int]
) -> CheckOutcome:
    """Compare with the published counts, where corpus and switches are the published ones."""
    origin, samples = corpora[0].origin, sum(samples_by_shard)
    published = (origin.get("repo"), origin.get("path")) == (KNOWN_REPO, KNOWN_PATH)
    if (
        len(corpora) > 1
        or not published
        or settings != Settings(tokenizer_base=settings.tokenizer_base)
    ):
        said = "another corpus or other switches: no counts are published"
        return CheckOutcome(passed=True, description=said, numbers={"samples": samples})
    right = tuple(samples_by_shard) == KNOWN_COUNTS
    said = f"with revision {origin.get('commit')}, tokenizer {settings.tokenizer_base}"
    wrong = (
        f"{list(samples_by_shard)} are not the published counts {list(KNOWN_COUNTS)}: {said}, "
        "either the file or the tokenizer differs from the published ones"
    )
    return CheckOutcome(
        passed=right,
        description=f"the published counts, {said}" if right else wrong,
        numbers={"samples": samples, "published": sum(KNOWN_COUNTS)},
    )
