"""The tokenizers library on the whole chunk as one string: the ids themselves, of any tokenizer."""

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.alone import Counted, Stretch, each_alone
from codedata.tokenize.engines.base import Encoded, Engine, missing_frame

_GROUP_BYTES = 1 << 18
"""Texts that the library gets at a time, which bounds its `Encoding` objects."""


class WholeTextEngine(Engine):
    """What the others are compared with; it has nothing to be compared with itself."""

    name = "whole"

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:  # noqa: ARG002
        """See `Engine.encode`; one string is tokenized by one thread."""
        [encoding] = self._loaded.tokenizer.encode_batch_fast([str(text.data, "utf-8")])
        ids = np.array(encoding.ids, self._dtype)
        first, last = (np.array(ids, self._dtype) for ids in missing_frame(self._loaded, ids))
        return Encoded(ids=np.concatenate([first, ids, last]), marks=[])

    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        """See `Engine.encode_each`."""

        def encode(stretch: Stretch) -> Counted:
            texts = [str(text[start:stop].data, "utf-8") for start, stop in stretch.spans]
            found = self._loaded.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            ids = [np.array(each.ids, self._dtype) for each in found]
            return np.concatenate(ids), np.array([*map(len, ids)])

        stretch = Stretch.of(ends)
        return each_alone(
            encode, stretch, ends, group_bytes=_GROUP_BYTES, threads=threads, dtype=self._dtype
        )
