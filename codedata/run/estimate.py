"""A plan and the chunks that are stored of it -> what a run would take: tokens, disk, seconds.

Chunks of earlier runs say how many tokens a character is and how long one takes. Without any, some
of the text is tokenized. Before there is a text, `guess` goes by the switches alone.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shutil import disk_usage

from codedata.errors import SettingsError, TargetError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.meta import MAX_SHARDS
from codedata.format.packing import id_dtype
from codedata.format.ranges import CharRange, Utf8
from codedata.parallel import side_by_side
from codedata.progress import megabytes
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run.plan import ChunkTask, Plan, sample_of
from codedata.store.chunks import ChunkStore, TokenChunk
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.probe import PROBE
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles

_PLACES, _PLACE_CHARS = 8, 250_000
"""Tokenized to see what comes of it, and how fast: a second of the tokenizers library's work."""

_CHARS_PER_TOKEN = 3.0
"""Roughly, of C: the demo's tokenizer, of no more than 4,096 tokens, has 2.6."""

_MOST_ID_BYTES = 4
"""Where it is not known whether the ids fit in two."""

_WITH_SIDECARS = 1.02
"""What says where documents lie, and which they are, takes a hundredth of a shard or two."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would make, and take.

    Attributes:
        num_tokens: of all chunks, those of earlier runs included.
        num_samples: that they are packed to.
        num_bytes: of chunks and shards to be written, and of the pages that go with them.
        seconds: of tokenizing what is not stored.
    """

    num_tokens: int
    num_samples: int
    num_bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What a run would make of a text that is not here yet, and may be shorter than its window.

    Attributes:
        chars_per_token: that it goes by.
        num_tokens: of all chunks.
        num_samples: that they are packed to.
        num_bytes: of chunks and shards.
    """

    chars_per_token: float
    num_tokens: int
    num_samples: int
    num_bytes: int


def finished(tasks: Iterable[ChunkTask]) -> list[TokenChunk]:
    """The chunks that an earlier run stored; a run compares some of their ids before it takes them.

    Args:
        tasks: whose chunks are looked for.

    Raises:
        UntrustedError: one is a stranger's.
    """
    stores: dict[ChunkStore, list[ChunkFingerprint]] = {}
    for task in tasks:
        stores.setdefault(task.chunks, []).append(task.fingerprint)
    found = side_by_side(lambda each: each[0].find(each[1]), stores.items())
    return [*chain.from_iterable(found)]


def estimate(plan: Plan, stored: Sequence[TokenChunk], *, threads: int) -> Estimate:
    """What is left to do of a plan, and what comes of it.

    Args:
        plan: of the run.
        stored: its chunks that are finished.
        threads: that will tokenize.
    """
    num_chars = sum(chunk.chars.num_chars for chunk in stored)
    num_tokens = sum(chunk.num_tokens for chunk in stored)
    seconds = sum(chunk.seconds for chunk in stored)
    known = {chunk.chars for chunk in stored}
    chunks = _chunks(plan)
    missing = [chars for chars in chunks if chars not in known]
    if missing and not seconds:
        plan.engine.encode(as_utf8(sample_of(plan.windows[0])))  # which may be compiled first
        num_chars, num_tokens = 0, 0
        for text in _some_of(plan):
            started = time.monotonic()
            num_tokens += len(plan.engine.encode(text).ids)
            seconds += time.monotonic() - started
            num_chars += len(bytes(text).decode())
    each, rate = num_tokens / num_chars, num_chars / max(seconds, 1e-9)
    num_samples, num_bytes = _needed_of(plan, chunks, missing, each)
    left = sum(chars.num_chars for chars in missing)
    at_once = max(1, min(threads, len(missing)))
    return Estimate(
        num_tokens=int(each * sum(chars.num_chars for chars in chunks)),
        num_samples=num_samples,
        num_bytes=num_bytes,
        seconds=left / rate / at_once,
    )


def guess(
    settings: Settings,
    chunks: Sequence[CharRange],
    files: TokenizerFiles | None,
    recipe: DocumentRecipe | None = None,
) -> Guess:
    """What comes of a text that is not here.

    Args:
        settings: the switches.
        chunks: of all windows.
        files: the tokenizer's, which is tried on a built-in sample of code; None where it is not
            here.
        recipe: how documents become samples; None is the reference mode.
    """
    chars_per_token, id_bytes = _CHARS_PER_TOKEN, _MOST_ID_BYTES
    if files is not None:
        loaded = load_tokenizer(files)
        ids = loaded.tokenizer.encode(PROBE, add_special_tokens=False).ids
        chars_per_token = len(PROBE) / len(ids)
        id_bytes = id_dtype(loaded.vocab_size - 1).itemsize
    each = 1 / chars_per_token
    num_samples, num_bytes = _needed(settings, recipe, id_bytes, chunks, chunks, each)
    return Guess(
        chars_per_token=chars_per_token,
        num_tokens=int(each * sum(chars.num_chars for chars in chunks)),
        num_samples=num_samples,
        num_bytes=num_bytes,
    )


def require_disk_space(plan: Plan, missing: Sequence[CharRange], folder: Path) -> None:
    """Refuse to start work that the disk has no room for, going by the first window's start.

    Args:
        plan: what the dataset is made from.
        missing: the chunks that are not stored yet.
        folder: where chunks and shards go; it need not exist yet.

    Raises:
        TargetError: with the estimate and what is free.
    """
    chunks, each = _chunks(plan), _tokens_per_char(plan)
    _, needed = _needed_of(plan, chunks, missing, each)
    if needed > (free := free_bytes(folder)):
        raise TargetError(
            f"{sum(chars.num_chars for chars in chunks):,} characters need about "
            f"{megabytes(needed)} on the disk of {folder}, which has {megabytes(free)} free; make "
            "room, or choose a smaller chars_to_tokenize"
        )


def require_few_shards(plan: Plan) -> None:
    """Refuse to start work whose chunks, a shard each, are more than a dataset may have.

    Raises:
        SettingsError: going by the first window's start.
    """
    if len(chunks := _chunks(plan)) <= MAX_SHARDS:
        return
    each = _tokens_per_char(plan)
    lengths = Counter(chars.num_chars for chars in chunks)
    recipe = plan.recipe and plan.recipe.recipe
    num_shards = sum(
        number
        for length, number in lengths.items()
        if _num_samples(plan.settings, recipe, int(each * length))
    )
    if num_shards > MAX_SHARDS:
        raise SettingsError(
            f"the samples of {num_shards:,} chunks would fill as many shards, more than the "
            f"{MAX_SHARDS:,} that a dataset may have; choose a larger chunk_size "
            f"({plan.settings.chunk_size}), or make several datasets, of fewer files each"
        )


def _tokens_per_char(plan: Plan) -> float:
    sample = sample_of(plan.windows[0])
    return len(plan.engine.encode(as_utf8(sample)).ids) / len(sample)


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder, which need not exist yet."""
    return disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def _some_of(plan: Plan) -> Iterator[Utf8]:
    """Leading texts of chunks from the whole of a plan: the first ones may be of another kind."""
    texts = {window.chars.file: window.text for window in plan.windows}
    chunks = _chunks(plan)
    for chars in chunks[:: max(1, len(chunks) // _PLACES)][:_PLACES]:
        yield texts[chars.file].read_utf8(chars.first(_PLACE_CHARS))


def _chunks(plan: Plan) -> list[CharRange]:
    return [fingerprint.chars for fingerprint in plan.fingerprints]


def _id_bytes(plan: Plan) -> int:
    return id_dtype(max(plan.engine.vocab_size - 1, plan.settings.pad_id)).itemsize


def _num_samples(settings: Settings, recipe: DocumentRecipe | None, num_tokens: int) -> int:
    """How many samples a chunk gives, or may: best fit drops nothing, and pads hardly anything."""
    if recipe is not None and recipe.packing == "best_fit":
        return -(-num_tokens // settings.seq_length)
    return settings.count_samples(num_tokens)


def _needed_of(
    plan: Plan, chunks: Sequence[CharRange], missing: Sequence[CharRange], tokens_per_char: float
) -> tuple[int, int]:
    """See `_needed`."""
    recipe = plan.recipe and plan.recipe.recipe
    return _needed(plan.settings, recipe, _id_bytes(plan), chunks, missing, tokens_per_char)


def _needed(
    settings: Settings,
    recipe: DocumentRecipe | None,
    id_bytes: int,
    chunks: Sequence[CharRange],
    missing: Sequence[CharRange],
    tokens_per_char: float,
) -> tuple[int, int]:
    """Samples of the dataset, and bytes of it and of the chunks that are missing."""

    def tokens(lengths: Sequence[CharRange]) -> list[tuple[int, int]]:
        """How many each has, and how many have as many: nearly all are of one length."""
        counts = Counter(chars.num_chars for chars in lengths)
        return [(int(tokens_per_char * length), number) for length, number in counts.items()]

    num_samples = sum(
        number * _num_samples(settings, recipe, each) for each, number in tokens(chunks)
    )
    packed = num_samples * settings.seq_length * (1 + id_bytes)
    stored = sum(each * number for each, number in tokens(missing)) * id_bytes
    return num_samples, int((packed + stored) * (1 if recipe is None else _WITH_SIDECARS))
