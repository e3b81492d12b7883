"""A mixture of published datasets <-> its record, `<root>/mixtures/<name>.json`.

The record says of each source which dataset it was, so that whoever trains by it trains on those,
or is told that one is another by now. Of a root in an object store it is one of the small files of
its `state/`. It is replaced as a whole.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from codedata.errors import DatasetError, SettingsError
from codedata.layout import Layout, is_name
from codedata.recipe.mixture import MixturePlan, SourceShare, digest_of_plan, plan_of
from codedata.store import state

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class MixtureRecord:
    """What was mixed.

    Attributes:
        name: of the mixture.
        plan: its sources, each named by its split, and how many samples of each.
        digests: of the sources' datasets, in the same order.
        seed: of what is shuffled.
        shuffle: whether it is; "blocks" or "blocks:N" in some shards at a time.
    """

    name: str
    plan: MixturePlan
    digests: Sequence[str]
    seed: int
    shuffle: bool | str

    @property
    def digest(self) -> str:
        """The digest of the mixture as it is trained on."""
        return digest_of_plan(self.plan, self.digests, seed=self.seed, shuffle=self.shuffle)

    def as_json(self) -> dict[str, Any]:
        """What stands in the file: numbers as JSON has them, the fractions as text."""
        return {
            "version": _VERSION,
            "name": self.name,
            "digest": self.digest,
            "num_samples": self.plan.num_samples,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "sources": [
                {
                    "dataset": each.name,
                    "digest": digest,
                    "num_samples": each.num_samples,
                    "weight": str(each.weight),
                    "max_epochs": str(each.max_epochs),
                    "start": each.start,
                    "draws": each.draws,
                }
                for each, digest in zip(self.plan.sources, self.digests, strict=True)
            ],
        }


def place_of_mixture(layout: Layout, name: str) -> Path | str:
    """Where the record of a mixture is, for people: a path, or a URL."""
    path = layout.mixture(name)
    return path if layout.url is None else f"{layout.url}/{state.state_name(layout, path)}"


def publish_mixture(layout: Layout, record: MixtureRecord) -> None:
    """Have a record below the root, in place of the one before.

    Raises:
        StoreError: the store does not take it.
    """
    data = f"{json.dumps(record.as_json(), indent=2)}\n".encode()
    state.put_state(layout, layout.mixture(record.name), data)


def find_mixture(layout: Layout, name: str) -> MixtureRecord | None:
    """The record of a mixture; None where there is none.

    Raises:
        DatasetError: it is none that this release can read.
        StoreError: the store does not give it.
    """
    path = layout.mixture(name)
    state.pull(layout, path)
    if (data := state.content(path)) is None:
        return None
    try:
        return _parsed(json.loads(data))
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{place_of_mixture(layout, name)} is no record of a mixture that can be read "
            f"({type(error).__name__}: {error}); run `codedata materialize {name}`"
        ) from error


def mixture_of(layout: Layout, name: str) -> MixtureRecord:
    """The record of a mixture.

    Raises:
        DatasetError: there is none, or it cannot be read.
        SettingsError: the name is none.
        StoreError: the store does not give it.
    """
    if not is_name(name):
        raise SettingsError(
            f"{name!r} is no name of a mixture; name one, or the YAML of one by its path"
        )
    if (record := find_mixture(layout, name)) is None:
        raise DatasetError(
            f"there is no mixture {name!r} in {layout.shown}; run `codedata materialize "
            f"{name}`, or set CODEDATA_ROOT to the folder that holds it"
        )
    return record


def _parsed(said: Any) -> MixtureRecord:
    if said["version"] != _VERSION:
        raise ValueError(f"version {said['version']}, of a newer codedata")
    shares = [
        SourceShare(
            name=each["dataset"],
            weight=Fraction(each["weight"]),
            max_epochs=Fraction(each["max_epochs"]),
            start=each["start"],
        )
        for each in said["sources"]
    ]
    sizes = [each["num_samples"] for each in said["sources"]]
    record = MixtureRecord(
        name=said["name"],
        plan=plan_of(shares, sizes, said["num_samples"]),
        digests=[each["digest"] for each in said["sources"]],
        seed=said["seed"],
        shuffle=said["shuffle"],
    )
    if record.digest != said["digest"]:
        raise ValueError("its digest is not that of what it says")
    return record
