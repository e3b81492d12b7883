"""A split after all overrides, and what its assets share: plan, chunk tasks, check results."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, TypedDict

import dagster as dg

from codedata.components.raw_corpus import file_key
from codedata.components.split_partitions import Partitions
from codedata.components.split_parts import SplitPart, pull_records, require_consistent
from codedata.format.fingerprint import CODE_VERSION
from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.parallel import side_by_side
from codedata.printable import printable
from codedata.progress import Reporter
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run.checks import CheckOutcome
from codedata.run.plan import ChunkTask, Plan, open_plan
from codedata.sources.parquet.text import Text
from codedata.sources.paths import MAX_FILES
from codedata.sources.record import Corpus, read_corpus, without_parts
from codedata.sources.stored_text import text_of
from codedata.store import state
from codedata.store.chunks import ChunkStore, LocalChunks, ObjectChunks
from codedata.store.roots import objects_of
from codedata.tokenize.engines.registry import AUTO
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles, find_tokenizer, local_fingerprint

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""Every asset of a split's job has it, so that one run does all partitions."""

SPLIT_TAG = "codedata/split"
"""Tells the jobs of splits, and their runs, from others."""

FILES_TAG = "codedata/files"
"""On a split over a corpus of several files: the job that fetches them and which: `c_files 0-9`, or
`c_files all`; over several such corpora, with semicolons between."""


class Shown(TypedDict):
    """Arguments that every asset of a split is defined with."""

    group_name: str
    owners: list[str]
    tags: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """A split after all overrides, as its assets see it.

    Attributes:
        name: of the split.
        parts: what it takes of each of its corpora, in the order of the dataset.
        tokenizer_asset: what trains its tokenizer, if anything does.
        settings: the switches; characters are those of the first part, and each has its own.
        held_out_from: what other splits take, by their names.
        description: for people.
        owners: who answers for it.
        tags: of its assets.
        pad_is_named: whether somebody wrote the pad token.
        matches_transformers: whether it is compared with transformers.
        partitions: what a partition of its chunks is.
        partitions_per_run: most of them that a run of a backfill makes; None is all.
        recipe: how its documents become samples; None is the reference mode.
        whole: which of those it is held out from have a recipe, and so whole documents.
    """

    name: str
    parts: tuple[SplitPart, ...]
    tokenizer_asset: str | None
    settings: Settings
    held_out_from: Mapping[str, Sequence[SplitPart]]
    description: str
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    pad_is_named: bool = True
    matches_transformers: bool = True
    partitions: Partitions = "chunk"
    partitions_per_run: int | None = None
    recipe: DocumentRecipe | None = None
    whole: frozenset[str] = frozenset()

    @property
    def shown(self) -> Shown:
        """What all assets of the split have in common in the UI."""
        ends = ("", *(f"_{place}" for place in range(2, len(self.parts) + 1)))
        tags = {f"codedata/corpus{end}": n for end, n in zip(ends, self.corpora, strict=True)}
        tags["codedata/seq_length"] = str(self.settings.seq_length)
        if self.recipe is not None:
            tags["codedata/packing"] = self.recipe.packing
            tags["codedata/fim"] = str(self.recipe.fim.rate if self.recipe.fim else 0)
        return {
            "group_name": self.name,
            "owners": list(self.owners),
            "tags": {**tags, **self.tags},
        }

    @property
    def corpora(self) -> tuple[str, ...]:
        """The names of its corpora."""
        return tuple(part.corpus for part in self.parts)

    @cached_property
    def files(self) -> tuple[int, ...]:
        """The files, by their numbers in the split."""
        return tuple(chain.from_iterable(part.numbers for part in self.parts))

    @cached_property
    def _file_set(self) -> frozenset[int]:
        return frozenset(self.files)

    @property
    def windows(self) -> list[CharRange]:
        """The characters of each file."""
        return [window for part in self.parts for window in part.windows]

    @property
    def takes_all(self) -> bool:
        """Whether it takes all characters of texts that may not be here yet."""
        return any(part.window.is_open for part in self.parts)

    def part_of(self, file: int) -> SplitPart:
        """What is taken of the corpus of a file."""
        return self.parts[file // MAX_FILES]

    @cached_property
    def chunk_ranges(self) -> dict[str, CharRange]:
        """The characters of each chunk, by its key: `<file>/<start>-<stop>`.

        They are not known of a split that takes all characters of texts that may not be here yet.
        """
        assert not self.takes_all, "such a split has files as partitions"
        return {
            f"{file_key(chars.file)}/{chars.key}": chars
            for window in self.windows
            for chars in window.cut(self.settings.chunk_size)
        }

    @cached_property
    def partition_keys(self) -> list[str]:
        """The partitions of the chunks: `<file>/<start>-<stop>`, or `<file>`."""
        if self.partitions == "chunk":
            return list(self.chunk_ranges)
        return [file_key(file) for file in self.files]

    def partition_of(self, chars: CharRange) -> str:
        """The partition of a chunk, which may be shorter than its key says."""
        file = file_key(chars.file)
        if self.partitions == "file":
            return file
        window, stop = self.part_of(chars.file).window, chars.start + self.settings.chunk_size
        return f"{file}/{chars._replace(stop=min(stop, window.stop)).key}"

    @staticmethod
    def file_of(partition: str) -> int:
        """The file that a partition is of."""
        return int(partition.partition("/")[0])

    def has_chunk(self, chars: CharRange, num_chars: int | None) -> bool:
        """Whether a chunk is one that the windows are cut into.

        Args:
            chars: of the chunk.
            num_chars: of its file's text; None where it is not here, and may end with the chunk.
        """
        if chars.file not in self._file_set:
            return False
        window, size = self.part_of(chars.file).window, self.settings.chunk_size
        is_cut = window.start <= chars.start and (chars.start - window.start) % size == 0
        stop = min(chars.start + size, window.stop)
        ends_there = chars.stop < stop if num_chars is None else chars.stop == min(stop, num_chars)
        return is_cut and (chars.stop == stop or ends_there)

    def corpus_folder(self, layout: Layout, file: int) -> Path:
        """Where the record of a file lies."""
        return self.part_of(file).folder(layout, file)

    def code_version(self, *switches: str, recipe: Mapping[str, Any] | None = None) -> str:
        """What the assets' content depends on besides their inputs, as a short hash.

        Args:
            switches: those that decide it.
            recipe: what of the recipe does.
        """
        values = {switch: getattr(self.settings, switch) for switch in switches}
        if self.tokenizer_asset is not None:
            values.pop("tokenizer_base", None)  # a path below the root; the asset is upstream
        elif "tokenizer_base" in values and (files := local_fingerprint(values["tokenizer_base"])):
            values["tokenizer_base"] = files  # so that files that were replaced are a change
        part, *others = self.parts
        what = [CODE_VERSION, part.corpus, values, *([part.files] if part.files != (0,) else [])]
        if others:
            what = [CODE_VERSION, [(p.corpus, p.files, p.chars) for p in self.parts], values]
        if recipe is not None:
            what.append({"recipe": recipe})
        text = json.dumps(what, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def chunks_version(self) -> str:
        """What the chunks depend on besides corpus and tokenizer."""
        switches = ("tokenizer_base", "starting_character", "chars_to_tokenize", "chunk_size")
        recipe = self.recipe and self.recipe.of_chunks(self.settings.seq_length)
        return self.code_version(*switches, recipe=recipe)

    @property
    def shards_version(self) -> str:
        """What shards and meta depend on besides the chunks."""
        switches = ("seq_length", "min_sample_length", "max_dump_size", "pad_token", "chunk_size")
        return self.code_version(*switches, recipe=self.recipe and self.recipe.as_dict())

    @property
    def whole_version(self) -> str:
        """What the whole split depends on, as its YAML and the environment say it."""
        recipe = self.recipe and self.recipe.as_dict()
        return self.code_version(*self.settings.as_dict(), recipe=recipe)


def records_of(
    spec: SplitSpec, layout: Layout, files: Collection[int] | None = None
) -> dict[int, Corpus]:
    """What files of a split are, by their numbers; which parts each has is left out.

    Args:
        spec: the split.
        layout: the root.
        files: those that are needed; None is all.

    Raises:
        CorpusError: one is not materialized, or two are one text, or of two commits of a corpus.
    """
    needed = _needed_files(spec, layout, files)

    def read(file: int) -> Corpus:
        return without_parts(read_corpus(spec.corpus_folder(layout, file)))

    records = dict(zip(needed, side_by_side(read, needed), strict=True))
    require_consistent(spec.parts, records)
    return records


def _needed_files(spec: SplitSpec, layout: Layout, files: Collection[int] | None) -> list[int]:
    """Those of a split's files that are needed, their records here."""
    pull_records(layout, spec.parts, files)
    return [file for file in spec.files if files is None or file in files]


def split_tokenizer(
    spec: SplitSpec, layout: Layout, reporter: Reporter, *, update: bool = False
) -> TokenizerFiles:
    """The tokenizer of a split, as it is now.

    Args:
        spec: the split.
        layout: the root.
        reporter: told what has to be fetched or waited for.
        update: take the newest commit of one of the hub.
    """
    source = spec.settings.tokenizer_base
    if spec.tokenizer_asset is not None:
        state.pull_below(layout, layout.tokenizer(spec.tokenizer_asset))
    pins = layout.tokenizer_pins
    find = partial(find_tokenizer, source, pins=pins, update=update, reporter=reporter)
    return state.kept(layout, pins, find)


def open_split(
    spec: SplitSpec,
    layout: Layout,
    tokenizer: TokenizerFiles,
    *,
    files: Collection[int] | None = None,
    engine: str = AUTO,
) -> Plan:
    """The plan of a split: its texts as they are now, with its tokenizer.

    Args:
        spec: the split.
        layout: the root.
        tokenizer: the split's.
        files: those that are needed; None is all.
        engine: `auto`, or the one to take.

    Raises:
        CorpusError: as `records_of`.
    """
    needed = _needed_files(spec, layout, files)

    def open_file(file: int) -> tuple[Corpus, Text]:
        folder = spec.corpus_folder(layout, file)
        corpus = read_corpus(folder)
        return without_parts(corpus), text_of(folder, corpus)

    records, texts = zip(*side_by_side(open_file, needed), strict=True)
    require_consistent(spec.parts, dict(zip(needed, records, strict=True)))
    return open_plan(
        dict(zip(needed, texts, strict=True)),
        spec.settings,
        tokenizer,
        windows=spec.windows,
        engine=engine,
        pad_is_named=spec.pad_is_named,
        recipe=spec.recipe,
    )


def chunks_of_file(layout: Layout, split: str, file: int) -> ChunkStore:
    """Where the chunks of a file of a split are kept."""
    if (objects := objects_of(layout)) is not None:
        return ObjectChunks(objects.below(f"chunks/{split}"))
    return LocalChunks(layout.chunks(split) / file_key(file), shared=layout.root)


def chunk_tasks(
    spec: SplitSpec, plan: Plan, layout: Layout, keys: Sequence[str], *, threads: int = 1
) -> dict[str, list[ChunkTask]]:
    """The tasks of partitions, by key, in order; those beyond their text's end have none."""
    objects, chunks_of = objects_of(layout), partial(chunks_of_file, layout, spec.name)
    tokenizer = None if objects is None else store_tokenizer(objects, plan.tokenizer)
    tasks: dict[str, list[ChunkTask]] = {key: [] for key in keys}
    for task in plan.tasks(chunks_of, threads=threads, tokenizer=tokenizer):
        tasks.get(spec.partition_of(task.chars), []).append(task)
    return tasks


def check_result(
    name: str,
    outcome: CheckOutcome,
    asset_key: dg.AssetKey | None = None,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """An outcome as Dagster records it; `asset_key` where the step has several assets."""
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset_key,
        passed=outcome.passed,
        description=printable(outcome.description),
        metadata=outcome.numbers,
        severity=severity,
    )
