"""Shares of published datasets -> a mixture's record, and what is checked before it is published.

No shard is read, and none is brought from an object store: what is on record says it all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codedata.format.facts import Facts
from codedata.layout import Layout
from codedata.recipe.marks import MARKS, UNKNOWN, differing, marks_of
from codedata.recipe.mixture import SourceShare, plan_of
from codedata.run.checks import CheckOutcome
from codedata.store.copies import published
from codedata.store.dataset_folder import Dataset
from codedata.store.mixtures import MixtureRecord
from codedata.store.versions import Version


@dataclass(frozen=True, kw_only=True)
class JudgedMixture:
    """A mixture that may be published, if every check passed.

    Attributes:
        record: of it.
        seq_length: tokens a sample.
        outcomes: of the checks, by their names.
    """

    record: MixtureRecord
    seq_length: int
    outcomes: dict[str, CheckOutcome]

    @property
    def why_not(self) -> str:
        """What was found wrong; empty where all is right."""
        return "; ".join(each.description for each in self.outcomes.values() if not each.passed)


def judge_mixture(
    layout: Layout,
    name: str,
    shares: Sequence[SourceShare],
    *,
    num_samples: int | None,
    seed: int,
    shuffle: bool | str,
) -> JudgedMixture:
    """Mix published datasets, each named by its split.

    Args:
        layout: the root.
        name: of the mixture.
        shares: of the splits.
        num_samples: of the mixture; None is as many as `max_epochs` of all allow.
        seed: of what is shuffled.
        shuffle: see `Mixture`.

    Raises:
        DatasetError: a split has no dataset, or it is damaged.
        SettingsError: the mixture would have no sample.
    """
    datasets = [published(layout, share.name) for share in shares]
    plan = plan_of(shares, [each.num_samples for each in datasets], num_samples)
    epochs = CheckOutcome(
        passed=plan.why_not is None,
        description=plan.why_not or "no source comes oftener than its max_epochs",
        numbers={each.name: each.shown for each in plan.sources},
    )
    names = [share.name for share in shares]
    digests = [
        each.content_digest if isinstance(each, Dataset) else each.digest for each in datasets
    ]
    return JudgedMixture(
        record=MixtureRecord(name=name, plan=plan, digests=digests, seed=seed, shuffle=shuffle),
        seq_length=datasets[0].seq_length,
        outcomes={"epochs": epochs, "compatible": _compatible(names, digests, datasets)},
    )


def _compatible(
    names: Sequence[str], digests: Sequence[str], datasets: Sequence[Dataset | Version]
) -> CheckOutcome:
    """Whether samples of each may stand in one batch, and no two sources are the same."""
    facts = [each.facts if isinstance(each, Dataset) else each.made_of for each in datasets]
    marks = [marks_of(each) for each in facts]
    of_each: dict[str, list[Any]] = {
        "seq_length": [each.seq_length for each in datasets],
        "tokenizer": [_tokenizer(each) for each in facts],
        "documents": [_yes_or_no(has=each.has_documents) for each in datasets],
        **{what: [each[what] for each in marks] for what in MARKS},
    }
    wrong = [line for what, of in of_each.items() for line in differing(names, what, of)]
    wrong += [
        f"{names[digests.index(digest)]} and {names[number]} have the same samples"
        for number, digest in enumerate(digests)
        if digest in digests[:number]
    ]
    return CheckOutcome(
        passed=not wrong,
        description="; ".join([*wrong, "make them with the same switches, or leave one out"])
        if wrong
        else "sources have one tokenizer and one seq_length, and none is another",
        numbers={
            what: ", ".join(map(str, of)) for what, of in of_each.items() if {*of} != {UNKNOWN}
        },
    )


def _tokenizer(facts: Facts | None) -> str:
    return UNKNOWN if facts is None else f"{facts.tokenizer.source} {facts.tokenizer.sha256[:12]}"


def _yes_or_no(*, has: bool) -> str:
    return "yes" if has else "no"
