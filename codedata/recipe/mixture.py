"""What a mixture takes of each source, as users write it -> its plan, or a refusal of one line.

A source that gives more samples than `max_epochs` times what it has is refused here, before any
sample is read: with every such source, what it has, what it would give, and what fits.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import Any, cast

from codedata.errors import SettingsError
from codedata.format.shares import Shares
from codedata.printable import did_you_mean, shortened
from codedata.recipe.judging import MAX_SEED

SOURCE_FIELDS = {
    "dataset": "name of a split, or a folder, a URL, an opened dataset, or owner/name on the hub",
    "revision": "of a dataset on the hub: a branch, tag or commit",
    "weight": "its share of the samples, more than 0: the weights may have any sum",
    "max_epochs": "how often each of its samples may come, 1.5 for a half of them twice",
    "start": "samples of it that were drawn before, in the stage of training that this one follows",
    "name": "what messages call it, by default the split's name, or the folder's",
}
"""What a source may have, and what it is."""

_LEAST_PERCENT = 0.001
"""Shares below would be shown as 0.0%."""

_MOST_TOLD = 3
"""Sources of which a refusal tells all: a mixture may have hundreds."""


@dataclass(frozen=True, kw_only=True)
class SourceShare:
    """What a mixture takes of a source.

    Attributes:
        name: of the source.
        weight: more than 0.
        max_epochs: more than 0.
        start: 0 or more.
    """

    name: str
    weight: Fraction
    max_epochs: Fraction = Fraction(1)
    start: int = 0


@dataclass(frozen=True, kw_only=True)
class SourcePlan(SourceShare):
    """What a mixture draws from a source.

    Attributes:
        weight: its share, those of all sources together being 1.
        num_samples: what the source has.
        draws: what the mixture draws of it, after `start`.
    """

    num_samples: int
    draws: int

    @property
    def epochs(self) -> float:
        """How often it is gone through when the mixture ends, `start` included."""
        return (self.start + self.draws) / self.num_samples

    @property
    def shown(self) -> str:
        """A line for people: `docs 30.0 %: 3,000 of 1,000 samples, 3.00 epochs`."""
        before = f"after {self.start:,} " if self.start else ""
        return (
            f"{self.name} {_percent(self.weight)}: {before}{self.draws:,} of "
            f"{self.num_samples:,} samples, {self.epochs:.2f} epochs"
        )


@dataclass(frozen=True, kw_only=True)
class MixturePlan:
    """Sources and how many samples of each.

    Attributes:
        sources: in the order in which they were given.
        shares: of the sources.
        num_samples: of the mixture.
    """

    sources: tuple[SourcePlan, ...]
    shares: Shares
    num_samples: int

    @property
    def why_not(self) -> str | None:
        """Which sources are gone through too often, and what fits; None where none is."""
        over = [each for each in self.sources if each.start + each.draws > _available(each)]
        if not over:
            return None
        if len(over) > _MOST_TOLD:
            over.sort(key=lambda each: each.epochs / float(each.max_epochs), reverse=True)
        told = [*map(_too_often, over[:_MOST_TOLD])]
        told += [f"{len(over) - len(told)} more"] * (len(over) > len(told))
        fits = self.shares.most([max(0, _available(each) - each.start) for each in self.sources])
        remedy = (
            f"num_samples {fits:,} fits, or give {_names(over)} a smaller weight, or a larger "
            "max_epochs if samples shall come again"
            if fits
            else f"no num_samples fits: give {_names(over)} a larger max_epochs, or leave them out"
        )
        return f"{'; '.join(told)}: of {self.num_samples:,} samples; {remedy}"


def plan_of(
    given: Sequence[SourceShare], sizes: Sequence[int], num_samples: int | None
) -> MixturePlan:
    """What a mixture draws from its sources.

    Args:
        given: the sources.
        sizes: samples that each has.
        num_samples: of the mixture; None is as many as `max_epochs` of all sources allow.

    Raises:
        SettingsError: two have one name; or a source is empty, or would give no sample.
    """
    if not given:
        raise SettingsError("a mixture has no sources; name one at least, with its weight")
    names = [each.name for each in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(
            f"two sources of the mixture are named {twice!r}; give one of them another `name`"
        )
    for each, size in zip(given, sizes, strict=True):
        if not size:
            raise SettingsError(f"source {each.name!r} of the mixture has no samples; leave it out")
    shares = Shares([each.weight for each in given])
    if num_samples is None:
        has = [
            max(0, int(each.max_epochs * size) - each.start)
            for each, size in zip(given, sizes, strict=True)
        ]
        num_samples = shares.most(has)
        none = [each for each, left in zip(given, has, strict=True) if not left]
        if none or not num_samples:
            none = none or given
            raise SettingsError(
                f"a mixture of these sources has no sample: after its start, max_epochs of "
                f"{_names(none)} allows none; raise max_epochs, or leave it out"
            )
    counts = shares.counts(num_samples)
    if without := [each for each, draws in zip(given, counts, strict=True) if not draws]:
        raise SettingsError(
            f"of {num_samples:,} samples of the mixture none is of {_names(without)}, by its "
            "weight; give it a larger one, or the mixture more num_samples (a slice of it is for "
            "trials), or leave it out"
        )
    drawn = zip(given, sizes, shares.weights, counts, strict=True)
    return MixturePlan(
        sources=tuple(
            SourcePlan(
                name=each.name,
                weight=weight,
                max_epochs=each.max_epochs,
                start=each.start,
                num_samples=size,
                draws=draws,
            )
            for each, size, weight, draws in drawn
        ),
        shares=shares,
        num_samples=num_samples,
    )


def digest_of_plan(
    plan: MixturePlan, digests: Sequence[str], *, seed: int, shuffle: bool | str
) -> str:
    """Equal only for the same samples in the same order, whatever sources and mixture are called.

    The sha256 of JSON: `["mixture", [[digest, weight, start], ...], num_samples, seed, shuffle]`,
    the weights as fractions of 1.
    """
    sources = [
        [digest, str(each.weight), each.start]
        for each, digest in zip(plan.sources, digests, strict=True)
    ]
    said = ["mixture", sources, plan.num_samples, seed, shuffle]
    return sha256(json.dumps(said).encode()).hexdigest()


def share_of(given: object, what: str, default_name: str) -> SourceShare:
    """The share of a source, of the mapping that a user wrote.

    Args:
        given: the mapping; its `dataset` is not looked at.
        what: which it is, for messages.
        default_name: where it has no `name`.

    Raises:
        SettingsError: naming the field that does not fit.
    """
    fields = fields_of_source(given, what)
    name = fields.get("name")
    if name is not None and (not isinstance(name, str) or not name):
        raise SettingsError(f"name of {what} is {shortened(repr(name))}; write a word")
    name = name or default_name
    return SourceShare(
        name=name,
        weight=weight_of(fields["weight"], f"weight of source {name!r}"),
        max_epochs=weight_of(fields.get("max_epochs", 1), f"max_epochs of source {name!r}"),
        start=whole_number(fields.get("start", 0), f"start of source {name!r}"),
    )


def fields_of_source(given: object, what: str) -> Mapping[str, Any]:
    """The fields of a source, by their names.

    Raises:
        SettingsError: it is no mapping, one of its fields is unknown, or one is missing.
    """
    if not isinstance(given, Mapping):
        raise SettingsError(
            f"{what} is {shortened(repr(given))}; write {{dataset: ..., weight: ...}}"
        )
    fields = cast("Mapping[str, Any]", given)
    for name in fields:
        if name not in SOURCE_FIELDS:
            meant = did_you_mean(str(name), SOURCE_FIELDS) or f"it may have {[*SOURCE_FIELDS]}"
            raise SettingsError(f"{what} has no {shortened(repr(name))}; {meant}")
    for name in ("dataset", "weight"):
        if fields.get(name) is None:
            raise SettingsError(f"{what} has no {name}; it is {SOURCE_FIELDS[name]}")
    return fields


def weight_of(given: object, what: str) -> Fraction:
    """A positive number, exactly what was written: 0.1 is a tenth.

    Raises:
        SettingsError: it is none.
    """
    if isinstance(given, Fraction | int) and not isinstance(given, bool):
        number = Fraction(given)
    else:
        is_number = hasattr(given, "__float__") and not isinstance(given, bool)
        as_float = float(cast("Any", given)) if is_number else math.nan
        number = Fraction(str(as_float)) if math.isfinite(as_float) else Fraction(0)
    if isinstance(given, str):
        raise SettingsError(
            f"{what} is the text {shortened(repr(given))}; write a number without quotes, in YAML "
            "0.1 or 1.0e-6 and not 1e-6, which it takes for text"
        )
    if number <= 0:
        raise SettingsError(
            f"{what} is {shortened(repr(given))}; write a finite number of more than 0"
        )
    return number


def whole_number(given: object, what: str, *, least: int = 0) -> int:
    """A whole number, of numpy too.

    Raises:
        SettingsError: it is none, or out of range.
    """
    is_whole = hasattr(given, "__index__") and not isinstance(given, bool)
    number = int(cast("Any", given)) if is_whole else -1
    if not least <= number <= MAX_SEED:
        most = f"{MAX_SEED} at most" if number > MAX_SEED else f"{least} or more"
        without = ", without quotes" * isinstance(given, str)
        without = without or ", without a point" * isinstance(given, float)
        raise SettingsError(
            f"{what} is {shortened(repr(given))}; write a whole number of {most}{without}"
        )
    return number


def _available(source: SourcePlan) -> int:
    return int(source.max_epochs * source.num_samples)


def _too_often(source: SourcePlan) -> str:
    draws = f"{source.draws:,} draws"
    if source.start:
        draws = f"{source.start:,} + {draws}"
    return (
        f"source {source.name!r}: {draws} of {source.num_samples:,} samples are "
        f"{source.epochs:.2f} epochs, more than its max_epochs {float(source.max_epochs):g}"
    )


def _names(sources: Sequence[SourceShare]) -> str:
    named = [repr(each.name) for each in sources[:_MOST_TOLD]]
    if len(named) < len(sources):
        named.append(f"{len(sources) - len(named)} more")
    return " and ".join(named)


def _percent(weight: Fraction) -> str:
    """A share with a digit that is not 0: `70.0%`, `0.0001%`."""
    share = float(weight)
    return f"{share:.1%}" if share >= _LEAST_PERCENT else f"{100 * share:.1g}%"
