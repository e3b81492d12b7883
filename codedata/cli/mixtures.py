"""The mixtures of a code location -> what there is of each, and what a run of one would mix."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from codedata.cli.split_states import MADE, MISSING, STALE
from codedata.errors import CodedataError, DatasetError
from codedata.layout import Layout
from codedata.printable import say
from codedata.store.mixtures import MixtureRecord, find_mixture, mixture_of, place_of_mixture

if TYPE_CHECKING:
    import dagster as dg

Mixed = dict[str, Any]
"""What the YAML of a mixture says; see `codedata.components.mixture`."""


@dataclass(frozen=True, kw_only=True)
class MixtureState:
    """What is there of a mixture.

    Attributes:
        name: of the mixture.
        state: made, stale or missing.
        why: what a user can act on, a line each; empty where it is made.
        path: of its record, whether or not it is there.
        num_samples: None where there is no record.
        digest: likewise.
    """

    name: str
    state: str
    why: tuple[str, ...]
    path: Path | str
    num_samples: int | None = None
    digest: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What the page of commands says of `list --json`."""
        return {
            "name": self.name,
            "state": self.state,
            "why": list(self.why),
            "path": str(self.path),
            "samples": self.num_samples,
            "digest": self.digest,
        }


def mixtures_of(defs: "dg.Definitions") -> dict[str, Mixed]:
    """The mixtures of a code location by name, sorted."""
    from codedata.components.mixture import MIXED, MIXTURE_TAG  # with dagster, loaded by now

    jobs = [job for job in defs.resolve_all_job_defs() if MIXTURE_TAG in job.tags]
    return {
        job.name: cast("Mixed", job.metadata[MIXED].value)
        for job in sorted(jobs, key=lambda job: job.name)
    }


def mixture_states(defs: "dg.Definitions", layout: Layout) -> list[MixtureState]:
    """The state of every mixture, by name."""
    return [_state_of(name, mixed, layout) for name, mixed in mixtures_of(defs).items()]


def _state_of(name: str, mixed: Mixed, layout: Layout) -> MixtureState:
    path = place_of_mixture(layout, name)
    try:
        record = find_mixture(layout, name)
    except DatasetError as error:
        return MixtureState(name=name, state=STALE, why=(str(error),), path=path)
    if record is None:
        return MixtureState(name=name, state=MISSING, why=(), path=path)
    why = _why_stale(name, mixed, layout, record)
    return MixtureState(
        name=name,
        state=STALE if why else MADE,
        why=why,
        path=path,
        num_samples=record.plan.num_samples,
        digest=record.digest,
    )


def _why_stale(name: str, mixed: Mixed, layout: Layout, was: MixtureRecord) -> tuple[str, ...]:
    from codedata.components.mixture import judge_of

    try:
        judged = judge_of(name, mixed, layout)
    except CodedataError as error:
        return (str(error),)
    before = {each.name: digest for each, digest in zip(was.plan.sources, was.digests, strict=True)}
    sources = zip(judged.record.plan.sources, judged.record.digests, strict=True)
    others = [
        f"split {each.name} is another dataset than it was"
        for each, digest in sources
        if before.get(each.name, digest) != digest
    ]
    if not others and judged.record.digest != was.digest:
        others = ["its YAML says something else than it was made of"]
    return (*others, *([judged.why_not] if judged.why_not else []))


def say_mixture(layout: Layout, name: str) -> None:
    """Say what was made."""
    record = mixture_of(layout, name)
    place, number = place_of_mixture(layout, name), record.plan.num_samples
    say(f"{place}: {number:,} samples, digest {record.digest}")
    for each in record.plan.sources:
        say(f"  {each.shown}")


def say_dry_run(layout: Layout, name: str, mixed: Mixed) -> None:
    """Say what a run of a mixture would mix, as far as its datasets are there."""
    from codedata.components.mixture import judge_of

    say(f"{name}: {', '.join(each['dataset'] for each in mixed['sources'])} by weight")
    try:
        judged = judge_of(name, mixed, layout)
    except DatasetError as error:
        say(f"  not known yet: {error}")
        return
    for each in judged.record.plan.sources:
        say(f"  {each.shown}")
    if judged.why_not:
        say(f"  refused: {judged.why_not}")
