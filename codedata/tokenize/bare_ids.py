"""Texts -> the ids of each alone, without any token that frames it, by the fastest exact engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.base import Engine


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Texts, one behind the other.

    Attributes:
        utf8: their bytes.
        ends: where each ends in them, shape (num_texts,).
    """

    utf8: Utf8
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[Utf8]) -> "Texts":
        """Some texts, copied."""
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return cls(utf8=np.concatenate([np.empty(0, np.uint8), *texts]), ends=ends)

    def __len__(self) -> int:
        """How many."""
        return len(self.ends)

    def __getitem__(self, place: int) -> Utf8:
        """The bytes of one."""
        return self.utf8[self.ends[place - 1] if place else 0 : self.ends[place]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextIds:
    """The ids of texts, one behind the other.

    Attributes:
        ids: shape (num_ids,), uint16 or int32.
        ends: where those of each end, shape (num_texts,).
    """

    ids: IdArray
    ends: NDArray[np.int64]

    def __getitem__(self, place: int) -> IdArray:
        """The ids of one."""
        return self.ids[self.ends[place - 1] if place else 0 : self.ends[place]]


def bare_ids(engine: Engine, texts: Texts, *, threads: int = 1) -> TextIds:
    """The ids that the tokenizers library has for each text, special tokens not added.

    Args:
        engine: of the tokenizer.
        texts: any.
        threads: that may work on them.
    """
    ids, ends = engine.encode_each(texts.utf8, texts.ends, threads=threads)
    return TextIds(ids=ids, ends=ends)
