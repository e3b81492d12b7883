"""Texts -> the ids of each alone, without any token that frames it, by the fastest exact engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.texts import Texts
from codedata.tokenize.engines.base import Engine


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

    @property
    def num_tokens(self) -> NDArray[np.int64]:
        """Of each, shape (num_texts,)."""
        return np.diff(self.ends, prepend=0)

    def some(self, which: NDArray[np.bool_]) -> "TextIds":
        """Those of some of the texts, shape (num_texts,) says of which."""
        inside = np.repeat(which, self.num_tokens)
        return TextIds(ids=self.ids[inside], ends=np.cumsum(self.num_tokens[which]))

    def holding(self, sought: Sequence[int]) -> NDArray[np.int64]:
        """The places of those texts that have one of some ids, ascending."""
        found = np.flatnonzero(np.isin(self.ids, sought))
        return np.unique(np.searchsorted(self.ends, found, "right"))

    def with_others(self, others: Mapping[int, IdArray]) -> "TextIds":
        """The same but for the ids of some texts, by their places."""
        num_tokens, ids, upto = self.num_tokens, list[IdArray](), 0
        for place in sorted(others):
            start = int(self.ends[place] - num_tokens[place])
            ids += [self.ids[upto:start], others[place]]
            upto = int(self.ends[place])
            num_tokens[place] = len(others[place])
        ids.append(self.ids[upto:])
        return TextIds(
            ids=np.concatenate(ids, dtype=self.ids.dtype, casting="unsafe"),
            ends=np.cumsum(num_tokens),
        )


def bare_ids(engine: Engine, texts: Texts, *, threads: int = 1) -> TextIds:
    """The ids that the tokenizers library has for each text, special tokens not added.

    Args:
        engine: of the tokenizer.
        texts: any.
        threads: that may work on them.
    """
    ids, ends = engine.encode_each(texts.utf8, texts.ends, threads=threads)
    return TextIds(ids=ids, ends=ends)
