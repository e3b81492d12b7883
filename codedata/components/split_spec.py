"""A split after all overrides, and what its assets share: inputs, chunk tasks, check results."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from codedata.checks import CheckOutcome
from codedata.core.fingerprint import CODE_VERSION
from codedata.core.settings import CharRange, Settings
from codedata.io.corpus import read_corpus
from codedata.layout import Layout
from codedata.pipeline import ChunkTask, Inputs, open_inputs
from codedata.tokenization.engine import EngineChoice

SINGLE_RUN = dg.BackfillPolicy.single_run()
"""Every asset of a split's job has it, so that one run does all partitions."""


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """A split after all overrides, as its assets see it."""

    name: str
    corpus: str
    tokenizer_asset: str | None
    settings: Settings
    held_out_from: dict[str, CharRange]
    description: str

    @property
    def chunk_ranges(self) -> dict[str, CharRange]:
        """The characters of each partition, by its key: `<file>/<start>-<stop>`."""
        ranges = self.settings.window.cut(self.settings.chunk_size)
        return {f"{0:05d}/{chars.key}": chars for chars in ranges}

    def code_version(self, *switches: str) -> str:
        """What the assets' content depends on besides their inputs, as a short hash."""
        values = {switch: getattr(self.settings, switch) for switch in switches}
        if self.tokenizer_asset is not None:
            values.pop("tokenizer_base", None)  # a path below the root; the asset is upstream
        text = json.dumps([CODE_VERSION, self.corpus, values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_split(spec: SplitSpec, layout: Layout, engine: EngineChoice = "auto") -> Inputs:
    """The corpus and the tokenizer of a split, as they are now."""
    text = read_corpus(layout.corpus(spec.corpus)).open_text()
    return open_inputs(text, spec.settings, engine=engine)


def chunk_tasks(
    spec: SplitSpec, inputs: Inputs, layout: Layout, keys: Sequence[str], *, threads: int = 1
) -> dict[str, ChunkTask]:
    """The tasks of partitions, by key; those beyond the text's end have none."""
    ranges = spec.chunk_ranges
    tasks: dict[str, ChunkTask] = {}
    for key in keys:
        nominal = ranges[key]
        chars = CharRange(nominal.start, min(nominal.stop, inputs.window.stop))
        if chars.num_chars > 0:
            folder = layout.chunks(spec.name) / key.split("/")[0]
            tasks[key] = inputs.task(chars, folder, threads=threads)
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
        description=outcome.description,
        metadata=outcome.numbers,
        severity=severity,
    )
