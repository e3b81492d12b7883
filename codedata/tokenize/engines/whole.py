"""The tokenizers library on the whole chunk as one string: the ids themselves, of any tokenizer."""

import numpy as np

from codedata.format.ranges import Utf8
from codedata.tokenize.engines.base import Encoded, Engine, missing_frame


class WholeTextEngine(Engine):
    """What the others are compared with; it has nothing to be compared with itself."""

    name = "whole"

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:  # noqa: ARG002
        """See `Engine.encode`; one string is tokenized by one thread."""
        [encoding] = self._loaded.tokenizer.encode_batch_fast([str(text.data, "utf-8")])
        ids = np.array(encoding.ids, self._dtype)
        first, last = (np.array(ids, self._dtype) for ids in missing_frame(self._loaded, ids))
        return Encoded(ids=np.concatenate([first, ids, last]), marks=[])
