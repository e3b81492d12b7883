"""A user's dataset or collator -> a quicker way to the same, where it passes over none of its code.

The loader asks ours for whole batches, in place of single samples. A subclass inherits such a way
though it may change the samples, and a wrapper with `__getattr__` hands on that of what it wraps:
neither is taken. What a user's code was not asked for is lost without a word.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false

from typing import Any, cast

from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Subset


def shortcut(of: Any, name: str, *past: str) -> Any:
    """An attribute that is asked in place of methods; None where it may not be what they are.

    That is where a class defines one of the methods and only inherits the attribute; or where no
    class has the attribute, so that it is handed on from something else.

    Args:
        of: a dataset or a collator.
        name: of the attribute.
        past: names of the methods that are not asked then.
    """
    for each in type(of).__mro__:
        if name in vars(each):
            return getattr(of, name)
        if not vars(each).keys().isdisjoint(past):
            return None
    return None


def asked_for_each(dataset: Any) -> Any:
    """The same dataset, of which torch takes sample by sample where `__getitems__` is no shortcut.

    torch asks that of whatever has it, and of what a Subset is of.
    """
    inner = dataset
    while True:
        together = getattr(inner, "__getitems__", None)
        if together and not shortcut(inner, "__getitems__", "__getitem__"):
            return _OneByOne(dataset)
        if not isinstance(inner, Subset):
            return dataset
        inner = cast("Any", inner).dataset


class _OneByOne(TorchDataset[Any]):
    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getitem__(self, index: Any) -> Any:
        return self._dataset[index]
