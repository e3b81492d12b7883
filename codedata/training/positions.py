"""A state that somebody loads -> the position in training that it says, or what is wrong with it.

A state is a dict of JSON's types, as `GlobalBatchSampler.state_after` makes it. It comes back by
checkpoints of all kinds, in which other things stand too: it is judged before anything moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from codedata.errors import SettingsError
from codedata.printable import shortened
from codedata.recipe.mixture import whole_number

_FIELDS = ("epoch", "samples_done", "num_samples", "seed", "shuffle")
"""What every state has. A codedata of before knew no `dataset`, and only mixtures have `drawn`."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a state stands.

    Attributes:
        epoch: 0 or more.
        samples_done: of that epoch, of all ranks together.
        drawn: of each source of a mixture how many draws are done; None where it does not say.
    """

    epoch: int
    samples_done: int
    drawn: dict[str, int] | None


def position_of(state: Any) -> Position:
    """The position that a state says.

    Raises:
        SettingsError: it is no state, or lacks something, or its numbers are none.
    """
    wanted = "give what state_dict() of a loader returned"
    if not isinstance(state, Mapping):
        none = ": a checkpoint's get() gives None for a key that it does not have"
        raise SettingsError(
            f"the state is {shortened(repr(state))}, no mapping; {wanted}"
            f"{none if state is None else ''}"
        )
    said = cast("Mapping[str, Any]", state)
    if missing := [name for name in _FIELDS if name not in said]:
        raise SettingsError(
            f"the state has no {', '.join(missing)}, but "
            f"{shortened(', '.join(map(repr, said))) or 'nothing at all'}; {wanted}"
        )
    numbers = {
        name: whole_number(said[name], f"{name} of the state")
        for name in ("epoch", "samples_done", "num_samples")
    }
    if numbers["samples_done"] > numbers["num_samples"]:
        raise SettingsError(
            f"the state has {numbers['samples_done']} samples_done, more than its num_samples "
            f"{numbers['num_samples']}; {wanted}"
        )
    drawn = said.get("drawn")
    if drawn is not None and not isinstance(drawn, Mapping):
        raise SettingsError(f"drawn of the state is {shortened(repr(drawn))}, no mapping; {wanted}")
    return Position(
        epoch=numbers["epoch"],
        samples_done=numbers["samples_done"],
        drawn=None
        if drawn is None
        else {
            name: whole_number(draws, f"drawn of {name} in the state")
            for name, draws in cast("Mapping[str, Any]", drawn).items()
        },
    )
