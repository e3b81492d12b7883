"""What a caller, torch.distributed or a launcher says -> which of how many ranks this process is.

Whoever takes itself for the only rank trains on what all others train on too, and nobody would
notice. So what says one number and not the other is refused.
"""

import os
from typing import Any

import torch.distributed

from codedata.errors import SettingsError
from codedata.recipe.mixture import whole_number

_REMEDY = "give rank= and world_size="


def ranks_of(rank: Any, world_size: Any) -> tuple[int, int]:
    """The rank and the number of ranks: as given, else as `found_ranks` says, else 0 of 1.

    Args:
        rank: of this process; None where it was not given.
        world_size: number of ranks, likewise.

    Raises:
        SettingsError: there is no such rank, or nothing says which of several this process is.
    """
    if rank is None or world_size is None:
        found = found_ranks()
        if found is None and rank is None and world_size is not None and world_size != 1:
            raise SettingsError(
                f"world_size {world_size} was given, and nothing says which of these ranks this "
                f"process is; {_REMEDY}"
            )
        here = found or (0, 1)
        rank = here[0] if rank is None else rank
        world_size = here[1] if world_size is None else world_size
    rank, world_size = whole_number(rank, "rank"), whole_number(world_size, "world_size", least=1)
    if rank >= world_size:
        raise SettingsError(f"rank {rank} is none of {world_size} ranks, 0 and up")
    return rank, world_size


def found_ranks() -> tuple[int, int] | None:
    """The rank and the number of ranks by torch.distributed, else by torchrun's variables.

    Returns:
        None where neither says.

    Raises:
        SettingsError: the variables are no whole numbers, or one of them is not there.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None and world_size in (None, "1"):
        return None
    for name, text, other in [("RANK", rank, "WORLD_SIZE"), ("WORLD_SIZE", world_size, "RANK")]:
        if text is None:
            raise SettingsError(
                f"{other} is in the environment, and {name} is not: it is not known which rank of "
                f"how many this process is; set both, as torchrun does, or none, or make this "
                f"after init_process_group, or {_REMEDY}"
            )
        if not (text.isascii() and text.isdecimal()):
            raise SettingsError(
                f"{name} is {text!r} in the environment; set a whole number, as torchrun does, or "
                f"{_REMEDY}"
            )
    return int(rank or 0), int(world_size or 0)


def require_same_ranks(own: tuple[int, int], rank: Any, world_size: Any) -> None:
    """Refuse to draw batches of a rank that this process is not, as it has turned out since.

    Args:
        own: what `ranks_of` said.
        rank: as it was given then, or None.
        world_size: likewise.

    Raises:
        SettingsError: another rank, or another number of them, is found by now.
    """
    if (rank is not None and world_size is not None) or (found := found_ranks()) is None:
        return
    now = found[0] if rank is None else own[0], found[1] if world_size is None else own[1]
    if now != own:
        raise SettingsError(
            f"this was made as rank {own[0]} of {own[1]}, before it was known that this process is "
            f"rank {now[0]} of {now[1]}, whose share of the samples is another; make it after "
            f"init_process_group, or {_REMEDY}"
        )
