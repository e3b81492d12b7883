"""A tokenizer -> the bytes of text that ids stand for, and where each token of a text ends in it.

Two structures say it in their vocabularies: byte-level ones, a character for each byte, and
SentencePiece's with a token for each byte that it has no piece for. For others the library decodes,
and gives the offsets.

The start of a text may be a place of its own (a space is put before it). What goes on in the middle
of a text is tokenized and decoded behind `lead`, whose own ids and text are taken off again.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.cuts import MARK
from codedata.tokenize.library import LibraryTokenizer
from codedata.tokenize.structure import (
    BYTE_CHARACTERS,
    normalizes_to_nfc_only,
    steps_of,
    treats_start,
)
from codedata.tokenize.tokenizer import LoadedTokenizer

_BYTE_OF = {ord(char): byte for byte, char in BYTE_CHARACTERS.items()}

_NEVER = re.compile(rb"[\xc0\xc1\xf5-\xff]")
"""Bytes that no UTF-8 has: what a vocabulary writes with them may be an added token's text."""

FIRST = -0x40
"""Signed, the bytes that a character starts with are not below it."""

_ONE_BYTE = re.compile("<0x[0-9A-F]{2}>")

_LEAD = "\n"
"""Few vocabularies merge it with what comes next; whether one did shows in the ids."""

Stops = NDArray[np.int64]
"""Shape (num_tokens + 1,): the byte of the text at which so many tokens end, which may be one within
a character; -1 where the library's offsets say no more than that it is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBytes:
    """What the ids of a tokenizer stand for.

    Attributes:
        loaded: the tokenizer.
        table: the bytes of each id; None where the vocabulary does not say.
        keeps: whether any text's bytes, or those of its NFC, are those of its ids, wherever it
            begins and ends.
        changes: whether the text is normalized first.
        lead: goes before what is not the start of a text; empty where that is a place as any.
    """

    loaded: LoadedTokenizer
    table: list[bytes] | None
    keeps: bool
    changes: bool
    lead: str

    @cached_property
    def lead_ids(self) -> list[int]:
        """Those of `lead`."""
        return self.loaded.tokenizer.encode(self.lead, add_special_tokens=False).ids

    @cached_property
    def num_bytes(self) -> NDArray[np.int64]:
        """Of each id, by the table."""
        table = self.table or []
        return np.fromiter(map(len, table), np.int64, len(table))

    def bytes_of(self, ids: Sequence[int], *, continues: bool) -> bytes:
        """The bytes that ids stand for.

        Args:
            ids: any of the vocabulary.
            continues: whether they were made behind `lead`, or go on behind others.
        """
        if self.table is not None:
            found = b"".join(map(self.table.__getitem__, ids))
            return found.removeprefix(b" ") if self.lead and not continues else found
        decode = self.loaded.tokenizer.decode
        lead = self.lead_ids if continues else []
        whole = decode([*lead, *ids], skip_special_tokens=False)
        return whole.removeprefix(decode(lead, skip_special_tokens=False)).encode()

    def stops(self, ids: IdArray, text: Utf8, tokenizer: LibraryTokenizer) -> Stops:
        """Where the tokens of a text end in it.

        Args:
            ids: its bare ids.
            text: not empty.
            tokenizer: that made them, which is asked where the table does not fit.
        """
        if self.table is not None:
            ends = np.zeros(len(ids) + 1, np.int64)
            np.cumsum(self.num_bytes[ids], out=ends[1:])
            more = int(ends[-1]) - len(text)
            sure = self.keeps and (not self.changes or int(text.max()) < 0x80)
            if (sure and not more) or self._spells(ids, text, more):
                return np.maximum(ends - more, 0) if more else ends
        return _stops_by_library(str(text.data, "utf-8"), tokenizer)

    def _spells(self, ids: IdArray, text: Utf8, more: int) -> bool:
        """Whether the bytes of ids are a text's, a space before it at most."""
        spelt = self.bytes_of(ids.tolist(), continues=True)
        return more in (0, 1) and spelt == b" " * more + text.tobytes()


@lru_cache(maxsize=4)
def token_bytes(loaded: LoadedTokenizer) -> TokenBytes:
    """What the ids of a tokenizer stand for."""
    structure = loaded.structure
    model: dict[str, Any] = structure.get("model") or {}
    normalizer = steps_of(structure.get("normalizer"), "normalizers")
    steps = steps_of(structure.get("pre_tokenizer"), "pretokenizers")
    affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    is_bpe = model.get("type", "BPE") == "BPE" and not affixes
    kinds = {step.get("type") for step in steps}
    has_lead = treats_start(normalizer, steps, [])
    table = None
    if is_bpe and "ByteLevel" in kinds:
        table = _table(loaded, _byte_level)
    elif (
        is_bpe
        and model.get("byte_fallback")
        and {s.get("type") for s in normalizer} <= {"Prepend", "Replace"}
    ):
        table = _table(loaded, _sentencepiece)
    is_nfc = not normalizer or normalizes_to_nfc_only(structure)
    return TokenBytes(
        loaded=loaded,
        table=table,
        keeps=table is not None and "ByteLevel" in kinds and is_nfc and not has_lead,
        changes=bool(normalizer),
        lead=_LEAD if has_lead else "",
    )


def _table(loaded: LoadedTokenizer, bytes_of: Callable[[str], bytes | None]) -> list[bytes]:
    """The bytes of each id: as the model writes them, or of an added token's own text."""
    table = [b""] * loaded.vocab_size
    vocab: dict[str, int] = loaded.structure["model"]["vocab"]
    for token_id, token in loaded.tokenizer.get_added_tokens_decoder().items():
        table[token_id] = token.content.encode()
    for token, token_id in vocab.items():
        if (found := bytes_of(token)) is not None:
            table[token_id] = found
    return table


def _byte_level(token: str) -> bytes | None:
    """The bytes of a token that has a character for each; None where no text has them."""
    try:
        found = token.translate(_BYTE_OF).encode("latin-1")
    except UnicodeEncodeError:
        return None
    return None if _NEVER.search(found) else found


def _sentencepiece(token: str) -> bytes:
    if _ONE_BYTE.fullmatch(token):
        return bytes([int(token[3:5], 16)])
    return token.replace(MARK, " ").encode()


def _stops_by_library(text: str, tokenizer: LibraryTokenizer) -> Stops:
    """By its offsets: characters, of which those that a token has a part of are its own whole."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    starts, ends = np.array(offsets, np.int64).reshape(-1, 2).T
    starts = np.append(starts, len(text))
    starts[0] = 0
    starts[1:][np.maximum.accumulate(ends) > starts[1:]] = -1
    utf8 = np.frombuffer(text.encode(), np.int8)
    byte_of = np.append(np.flatnonzero(utf8 >= FIRST), len(utf8))
    return np.where(starts < 0, -1, byte_of[starts])
