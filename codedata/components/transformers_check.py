"""The check `<split>/dataset:matches_transformers`, begun with the chunks and finished last.

It is a step of its own, so that it can be run again by itself, with another release.
"""

from contextlib import closing

import dagster as dg

from codedata.components.split_spec import (
    SplitSpec,
    check_result,
    chunk_tasks,
    open_split,
    records_of,
    split_tokenizer,
)
from codedata.errors import CorpusError, TokenizerError
from codedata.layout import Layout
from codedata.progress import Reporter, reporter_of_run
from codedata.resources import ChunkExecutor, DataRoot
from codedata.run.checks import CheckOutcome
from codedata.run.matches_transformers import TransformersCheck, not_compared, sample_of, spread
from codedata.store.copies import facts_at, place_of
from codedata.tokenize.tokenizer_files import TokenizerFiles


def transformers_check(spec: SplitSpec) -> dg.AssetChecksDefinition:
    """The check of a split."""

    @dg.asset_check(
        asset=dataset_key(spec),
        name="matches_transformers",
        additional_deps=[[spec.name, "report"]],  # when it is done, the process has answered
        description="AutoTokenizer of the installed transformers, from the same files, has the "
        "dataset's ids of a sample of the window. If it has others, the run goes on all the same.",
    )
    def matches_transformers(
        context: dg.AssetCheckExecutionContext, store: DataRoot, chunk_executor: ChunkExecutor
    ) -> dg.AssetCheckResult:
        reporter = reporter_of_run(context.log.info)
        try:
            with reporter.step(f"comparing {spec.name} with transformers"):
                outcome = _compare(spec, store.layout, chunk_executor, reporter)
        except (CorpusError, TokenizerError) as error:  # the dataset is whole without them
            outcome = not_compared(str(error))
        if not outcome.passed:
            reporter.say(f"{spec.name}: {outcome.description}")
        return check_result("matches_transformers", outcome, severity=dg.AssetCheckSeverity.WARN)

    return matches_transformers


def makes_whole_split(spec: SplitSpec, context: dg.AssetExecutionContext) -> bool:
    """Whether a run makes all chunks and goes on to the dataset, so that its check comes last."""
    is_whole = len(context.partition_keys) == len(spec.partition_keys)
    selected = context.job_def.asset_layer.selected_asset_keys
    return spec.matches_transformers and is_whole and dataset_key(spec) in selected


def begin_comparison(
    spec: SplitSpec, layout: Layout, tokenizer: TokenizerFiles, chunk_executor: ChunkExecutor
) -> None:
    """Have transformers imported beside a run, whose last step compares."""
    chunk_executor.beside[spec.name] = TransformersCheck(tokenizer, _about(spec, layout))


def dataset_key(spec: SplitSpec) -> dg.AssetKey:
    """What is checked."""
    return dg.AssetKey([spec.name, "dataset"])


def _compare(
    spec: SplitSpec, layout: Layout, chunk_executor: ChunkExecutor, reporter: Reporter
) -> CheckOutcome:
    check = chunk_executor.beside.pop(spec.name, None)
    if check is None:
        check = TransformersCheck(split_tokenizer(spec, layout, reporter), _about(spec, layout))
    with closing(check):
        facts = facts_at(place_of(layout, spec.name))
        if facts is not None and facts.tokenizer.sha256 != check.files.fingerprint:
            return not_compared(
                f"the dataset was made with another tokenizer, {facts.tokenizer.source}, than the "
                "one that is there now; materialize the split again"
            )
        if check.known is not None:
            return check.known
        keys = list(dict.fromkeys(spread(spec.partition_keys)))
        files = {spec.file_of(key) for key in keys}  # the others need not be opened
        plan = open_split(spec, layout, check.files, files=files)
        tasks = chunk_tasks(spec, plan, layout, keys)
        sample = sample_of([task for each in tasks.values() for task in each])
        return check.compare(sample, has_documents=spec.recipe is not None)


def _about(spec: SplitSpec, layout: Layout) -> list[str]:
    """What decides the text of a split's chunks."""
    records = records_of(spec, layout)
    windows = " ".join(part.window.key for part in spec.parts)
    documents = [] if spec.recipe is None else ["documents"]  # of which bare ids are compared
    return [f"{records[spec.file_of(key)].sha256} {key}" for key in spec.partition_keys] + (
        [f"{windows} {spec.settings.chunk_size}"] * (spec.partitions == "file") + documents
    )
