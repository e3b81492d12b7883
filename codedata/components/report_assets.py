"""The assets `<split>/token_figures` and `<split>/report`: figures and pictures, and one page.

One step makes both, so that tokens are counted and pictures drawn once. A split that is held out
from others is compared with them, as far as they are published; what cannot be compared is noted.
"""

from collections.abc import Iterator
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

import dagster as dg

from codedata.components.shown import with_separators
from codedata.components.split_spec import SINGLE_RUN, SplitSpec
from codedata.progress import reporter_of_run, rounded
from codedata.resources import DataRoot
from codedata.store.roots import objects_of

if TYPE_CHECKING:
    from codedata.reporting.split_report import Report, SplitComparison, SplitDescription

_DRAWN_WITH = (
    "codedata.reporting.split_report",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
)
"""Half a second of imports."""


def report_assets(spec: SplitSpec) -> dg.AssetsDefinition:
    """What is told of a split once its dataset is published."""
    token_figures_key = dg.AssetKey([spec.name, "token_figures"])
    report_key = dg.AssetKey([spec.name, "report"])
    described = [spec.name, *spec.held_out_from]
    others = ", and how it differs from " + ", ".join(spec.held_out_from)

    @dg.multi_asset(
        # Last of the job's steps by name: Dagster 1.13 takes a run's partitions from the last one,
        # and refuses the run of one chunk where that is partitioned.
        name=f"{spec.name}__token_figures",
        specs=[
            dg.AssetSpec(
                token_figures_key,
                deps=[[spec.name, "dataset"]],
                **spec.shown,
                kinds={"markdown"},
                code_version="4",
                description=f"What {spec.name} is made of: tokens, padding, vocabulary, documents, "
                "one sample; with pictures.",
            ),
            dg.AssetSpec(
                report_key,
                deps=[[name, "dataset"] for name in described],
                **spec.shown,
                kinds={"html"},
                code_version="2",
                description=f"A page that says what {spec.name} is made of"
                f"{others if spec.held_out_from else ''}.",
            ),
        ],
        can_subset=False,
        backfill_policy=SINGLE_RUN,
    )
    def report(
        context: dg.AssetExecutionContext, store: DataRoot
    ) -> Iterator[dg.MaterializeResult]:
        with reporter_of_run(context.log.info).step(f"describing {spec.name}"):
            # Compiled code, which the code location's start need not wait for.
            from codedata.reporting.published import why_too_large
            from codedata.reporting.split_report import report_held_out, write_report

            if why := why_too_large(store.layout, spec.name):
                context.log.warning(f"no report is made: {why}")
                for key in (token_figures_key, report_key):
                    yield dg.MaterializeResult(asset_key=key, metadata={"no report": why})
                return
            made = report_held_out(
                store.layout,
                spec.name,
                list(spec.held_out_from),
                tokenizers=[spec.settings.tokenizer_base],
            )
        for note in made.notes:
            context.log.warning(note)
        yield dg.MaterializeResult(
            asset_key=token_figures_key, metadata=_token_metadata(made.splits[0])
        )
        path = store.layout.report(spec.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        num_bytes = write_report(path, made)
        where = str(path)
        if (objects := objects_of(store.layout)) is not None:
            name = f"reports/{path.name}"
            objects.put(name, path.read_bytes())
            where = objects.where(name)
        context.log.info(f"the report is {where}")
        yield dg.MaterializeResult(
            asset_key=report_key,
            metadata={
                "page": dg.MetadataValue.path(where),
                "bytes": num_bytes,
                **with_separators(_comparison_metadata(made)),
            },
        )

    return report


def begin_imports(spec: SplitSpec, context: dg.AssetExecutionContext) -> None:
    """Import what a run's report is made with while chunks are tokenized, which needs no Python."""
    if dg.AssetKey([spec.name, "report"]) in context.job_def.asset_layer.selected_asset_keys:
        Thread(target=lambda: [*map(import_module, _DRAWN_WITH)]).start()


def _token_metadata(split: "SplitDescription") -> dict[str, Any]:
    num_tokens, padding = split.dataset.num_tokens, split.tokens.num_padding
    figures = {
        "report": dg.MetadataValue.md(split.markdown()),
        "tokens": num_tokens,
        "padding": padding,
        "padding share": rounded(padding / num_tokens),
        "vocabulary used": split.vocab_used,
        "vocabulary coverage": rounded(split.vocab_used / split.tokenizer.vocab_size),
        **({} if split.document_lengths is None else {"documents": len(split.document_lengths)}),
    }
    if split.dataset.spans:
        figures["documents a sample"] = rounded(float(split.documents_a_sample.mean()))
    return with_separators(figures)


def _comparison_metadata(report: "Report") -> dict[str, Any]:
    """Figures that plot themselves over runs, and the pictures; by the reference's name."""
    metadata: dict[str, Any] = {}
    for each in report.comparisons:
        metadata |= {f"{name} ({each.reference.name})": v for name, v in _figures(each).items()}
        metadata[f"against {each.reference.name}"] = dg.MetadataValue.md(each.markdown())
    if report.notes:
        metadata["not compared"] = "\n".join(report.notes)
    return metadata


def _figures(comparison: "SplitComparison") -> dict[str, float | int]:
    figures: dict[str, float | int] = {}
    if (tokens := comparison.tokens) is not None:
        figures["unseen tokens"] = tokens.num_unseen
        figures["divergence in bits"] = rounded(tokens.divergence)
    if (duplicates := comparison.duplicates) is not None:
        figures["exact duplicates"] = duplicates.num_exact
        figures["near duplicates"] = duplicates.num_near
    return figures
