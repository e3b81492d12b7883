"""Token chunks -> samples, shards, facts and meta of a staged dataset, checked as it lies there.

Everything that was written is read once, from the disk, before it may be published; what is
published is what was checked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from itertools import accumulate, chain, zip_longest
from typing import BinaryIO

from codedata.errors import CheckFailedError, ChunkMismatchError, CorpusError, SettingsError
from codedata.format.facts import Origin, Probe, TokenizerFacts, facts_of
from codedata.format.fingerprint import CODE_VERSION
from codedata.format.meta import MAX_SHARDS, ShardEntry
from codedata.format.packing import pack_samples, split_shards
from codedata.format.shards import Bytes, encode_shard
from codedata.format.without_paths import without_paths
from codedata.parallel import ChunkThreads
from codedata.recipe.settings import Settings
from codedata.run.checks import CheckOutcome, check_dataset
from codedata.run.plan import Plan
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.publishing import Staging
from codedata.tokenize.engines.base import reference_ids
from codedata.tokenize.probe import PROBE, PROBE_SHA256
from codedata.tokenize.remembered import place_of, remember_tokenizer
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles


@dataclass(frozen=True, kw_only=True)
class StagedDataset:
    """A dataset that is written and checked, but not published.

    Attributes:
        staging: where it lies.
        plan: what it was made by.
        dataset: opened where it lies; None where its integrity does not hold.
        outcomes: of its checks, by name; if one failed, it is not published.
    """

    staging: Staging
    plan: Plan
    dataset: Dataset | None
    outcomes: Mapping[str, CheckOutcome]

    def publish(self) -> Dataset:
        """Put it in its target's place, and remove the dataset that was there.

        Returns:
            The published dataset; what was read to check it is not read again.

        Raises:
            CheckFailedError: it did not pass a check; nothing is published.
            TargetError: see `Staging.publish`.
        """
        for name, outcome in self.outcomes.items():
            if not outcome.passed:
                raise CheckFailedError(f"{name}: {outcome.description}; nothing was published")
        assert self.dataset is not None, "without one, integrity has failed"
        self.staging.publish()
        remember_tokenizer(self.plan.tokenizer)
        return replace(self.dataset, folder=self.staging.target)


def assemble(
    plan: Plan,
    chunks: Sequence[TokenChunk],
    staging: Staging,
    origin: Origin,
    *,
    num_workers: int,
) -> StagedDataset:
    """Pack chunks into samples, write shards, facts, card and meta, and check them.

    Args:
        plan: of the run.
        chunks: all of the plan's, in the order of their characters.
        staging: where the dataset is written.
        origin: for the facts, which others get to see: without paths.
        num_workers: chunks packed at a time.

    Raises:
        ChunkMismatchError: one is damaged, or they are not those of the plan.
        CorpusError: they give no sample at all.
        SettingsError: they give more shards than a dataset may have.
    """
    settings = plan.settings
    for chunk, wanted in zip_longest(chunks, plan.fingerprints):
        if chunk is None or chunk.fingerprint != wanted:
            which = "a chunk is missing" if chunk is None else f"chunk {chunk.chars.key} is another"
            raise ChunkMismatchError(
                f"{which}: of other text, or by another tokenizer or code; run again"
            )
    num_shards = [
        -(-settings.count_samples(chunk.num_tokens) // settings.max_dump_size) for chunk in chunks
    ]
    *firsts, total = accumulate(num_shards, initial=0)
    if total > MAX_SHARDS:
        raise SettingsError(
            f"the samples would fill {total} shards, more than the {MAX_SHARDS} that can be "
            f"mapped; choose a larger max_dump_size ({settings.max_dump_size}) or chunk_size "
            f"({settings.chunk_size})"
        )
    stage = partial(_stage_chunk, settings, staging)
    with ChunkThreads(num_workers) as threads:
        entries = [*chain.from_iterable(threads.map(stage, chunks, firsts))]
    if not entries:
        tokens = max(chunk.num_tokens for chunk in chunks)
        raise CorpusError(
            f"the {len(chunks)} chunks of the window give no sample: the longest has {tokens} "
            f"tokens, and one must have more than min_sample_length ({settings.min_sample_length})"
        )
    facts = facts_of(origin, name=staging.target.name, switches=settings.as_dict(), entries=entries)
    staging.add_facts(without_paths(facts))
    staging.add_meta(entries)
    dataset, outcomes = check_dataset(staging.stage, chunks, settings, plan.engine.vocab_size)
    return StagedDataset(staging=staging, plan=plan, dataset=dataset, outcomes=outcomes)


def count_padding(num_tokens: int, settings: Settings) -> int:
    """Pad tokens that the samples of a chunk of so many tokens have."""
    return max(0, settings.count_samples(num_tokens) * settings.seq_length - num_tokens)


def origin_of(
    tokenizer: TokenizerFiles,
    chunks: Sequence[TokenChunk],
    command: str,
    corpus: Mapping[str, str],
    files: Mapping[int, Mapping[str, str]] | None = None,
) -> Origin:
    """What a dataset is made of, for its facts.

    Args:
        tokenizer: its files.
        chunks: which the dataset is packed from.
        command: that repeats it.
        corpus: what identifies the corpus; a `path` without a `repo` is one of this machine.
        files: what identifies each of its files, by number, where it has several.
    """
    return Origin(
        corpus=corpus,
        files=files or {},
        tokenizer=TokenizerFacts(
            source=place_of(tokenizer),
            sha256=tokenizer.fingerprint,
            revision=tokenizer.revision,
            probe=Probe(
                text_sha256=PROBE_SHA256, ids=tuple(reference_ids(load_tokenizer(tokenizer), PROBE))
            ),
        ),
        engine=", ".join(sorted({chunk.engine for chunk in chunks})),
        versions={
            "codedata": version("codedata"),
            "ids": str(CODE_VERSION),
            "tokenizers": version("tokenizers"),
        },
        command=command,
    )


def _stage_chunk(
    settings: Settings, staging: Staging, chunk: TokenChunk, first_shard: int
) -> list[ShardEntry]:
    """Pack a chunk and write its shards, numbered from `first_shard` on."""
    ids, pad_token, seq_length = chunk.read_ids(), settings.pad_id, settings.seq_length
    samples = pack_samples(
        ids,
        seq_length=seq_length,
        min_sample_length=settings.min_sample_length,
        pad_token=pad_token,
    )
    entries: list[ShardEntry] = []
    num_packed = 0
    for index, some in enumerate(split_shards(samples, settings.max_dump_size), first_shard):
        num_packed += some.size
        hashed = sha256()
        pieces = encode_shard(some, pad_token=pad_token)
        staging.add_shard(index, partial(_write_hashed, pieces, hashed.update))
        entry = ShardEntry(
            num_samples=len(some),
            num_tokens=some.size,
            sha256=hashed.hexdigest(),
            chars=chunk.chars,
            last_sample_tokens=seq_length - max(0, num_packed - len(ids)),
        )
        entries.append(entry)
    return entries


def _write_hashed(
    pieces: Iterable[Bytes], hash_: Callable[[memoryview], None], file: BinaryIO
) -> None:
    for piece in pieces:
        hash_(piece.data)
        file.write(piece.data)
