"""The asset `<split>/dataset`: what training loads, compared with what it is held out from."""

from itertools import chain

import dagster as dg

from codedata.components import documents_shown
from codedata.components.shown import with_separators
from codedata.components.split_parts import open_windows
from codedata.components.split_spec import SINGLE_RUN, SplitSpec, check_result
from codedata.errors import CorpusError
from codedata.layout import Layout
from codedata.progress import reporter_of_run
from codedata.resources import DataRoot
from codedata.run.checks import CheckOutcome
from codedata.run.shared_documents import find_shared, judge_shared
from codedata.sources.parquet.text import Window
from codedata.store.copies import place_of, published
from codedata.store.roots import MOST_FETCHED_BYTES

SAMPLE_COLUMNS = [
    dg.TableColumn("input_ids", "int64[seq_length]", "The ids of a sample."),
    dg.TableColumn("labels", "int64[seq_length]", "The same ids: the model shifts them itself."),
]


def dataset_asset(spec: SplitSpec) -> dg.AssetsDefinition:
    """The asset of a split, downstream of its shards and meta."""
    key = dg.AssetKey([spec.name, "dataset"])
    columns = SAMPLE_COLUMNS if spec.recipe is None else [*SAMPLE_COLUMNS, documents_shown.SAMPLE]

    @dg.asset(
        key=key,
        deps=[[spec.name, "pickle_shards"], [spec.name, "meta_json"]],
        **spec.shown,
        kinds={"pytorch"},
        code_version="1",
        metadata={"dagster/column_schema": dg.TableSchema(columns=columns)},
        description=f"{spec.description} Loads as a PickledTrainerDataset.",
        io_manager_key="dataset_io_manager",
        backfill_policy=SINGLE_RUN,
        check_specs=[
            dg.AssetCheckSpec(
                "shared_documents",
                asset=key,
                description="No document stands, byte for byte, in the splits that it is held out "
                "from too. Windows alone do not rule that out; the run goes on all the same.",
            )
        ],
    )
    def dataset(context: dg.AssetExecutionContext, store: DataRoot) -> dg.MaterializeResult:
        others = f" with {', '.join(spec.held_out_from)}" if spec.held_out_from else ""
        with reporter_of_run(context.log.info).step(f"comparing documents of {spec.name}{others}"):
            outcome = _shared_documents(spec, store.layout)
        warn = dg.AssetCheckSeverity.WARN
        opened = published(store.layout, spec.name, verify=True)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(opened.digest),
            check_results=[check_result("shared_documents", outcome, key, severity=warn)],
            metadata=with_separators(
                {
                    "dagster/row_count": opened.num_samples,
                    "samples": opened.num_samples,
                    "tokens": opened.num_tokens,
                    "seq_length": opened.seq_length,
                    "digest": opened.digest,
                    "path": dg.MetadataValue.path(str(place_of(store.layout, spec.name))),
                    "load": dg.MetadataValue.md(
                        f"```python\nimport codedata\ncodedata.load_dataset({spec.name!r})\n```"
                    ),
                }
            ),
        )

    return dataset


def _shared_documents(spec: SplitSpec, layout: Layout) -> CheckOutcome:
    """Look for documents that other splits have too; where a text cannot be read, say so.

    Texts in an object store are brought here for it, as far as `MOST_FETCHED_BYTES` go.
    """
    if not spec.held_out_from:
        return CheckOutcome(
            passed=True, description="the split is held out from no other", numbers={}
        )
    others: dict[str, list[Window]] = {}
    not_here: dict[str, str] = {}
    for name, other in spec.held_out_from.items():
        try:
            others[name] = open_windows(layout, other)
        except CorpusError as error:
            not_here[name] = str(error)
    try:
        own = open_windows(layout, spec.parts)
        num_chars = sum(each.chars.num_chars for each in chain(own, *others.values()))
        if layout.url is not None and num_chars > MOST_FETCHED_BYTES:
            why = (
                f"not compared: the texts have {num_chars:,} characters, more than the "
                f"{MOST_FETCHED_BYTES:,} that are read from an object store for it"
            )
            return CheckOutcome(passed=False, description=why, numbers={})
        is_whole = spec.recipe is not None
        shared = find_shared(own, others, is_whole=is_whole, whole=spec.whole)
    except CorpusError as error:  # the dataset is whole without its corpus
        return CheckOutcome(passed=False, description=f"not compared: {error}", numbers={})
    return judge_shared(spec.name, shared, not_here)
