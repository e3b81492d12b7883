"""A tokenizer -> the bytes of text that ids stand for, and where each token of a text ends in it.

Two structures say it in their vocabularies: byte-level ones, a character for each byte, and
SentencePiece's BPE, with a token for each byte that it has no piece for. For others the library
decodes, and gives the offsets.

The start of a text may be a place of its own: a space is put before it. What goes on in the middle
of a text is tokenized behind `lead`, whose own ids are taken off again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from unicodedata import is_normalized

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

_ONE_BYTE = re.compile("<0x[0-9A-F]{2}>")

_MARKING = (
    {"type": "Prepend", "prepend": MARK},
    {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
)
"""What SentencePiece's normalizers do that only have spaces written as `MARK`."""

FIRST = -0x40
"""Signed, the bytes that a character starts with are not below it."""

_LEAD = "\n"
"""Few vocabularies merge it with what comes next; whether one did shows in the ids."""

Stops = NDArray[np.int32]
"""Shape (num_tokens + 1,): the byte of the text at which so many tokens end, which may lie within a
character; -1 where the library's offsets say no more than that it does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBytes:
    """What the ids of a tokenizer stand for.

    Attributes:
        loaded: the tokenizer.
        table: the bytes of each id; None where the vocabulary does not say.
        composes: whether the text's NFC is what they are the bytes of.
        lead: goes before what is not the start of a text; empty where that is a place as any.
        prepends: whether a text gets its space whatever it begins with.
        marks: whether a text's own `MARK`s are taken for spaces.
    """

    loaded: LoadedTokenizer
    table: list[bytes] | None
    composes: bool
    lead: str
    prepends: bool
    marks: bool

    @cached_property
    def lead_ids(self) -> list[int]:
        """Those of `lead`."""
        return self.loaded.tokenizer.encode(self.lead, add_special_tokens=False).ids

    @cached_property
    def _num_bytes(self) -> NDArray[np.int32]:
        """Of each id, by the table."""
        table = self.table or []
        return np.fromiter(map(len, table), np.int32, len(table))

    @cached_property
    def _added(self) -> NDArray[np.int64]:
        return np.array([*self.loaded.tokenizer.get_added_tokens_decoder()], np.int64)

    @cached_property
    def _doubtful(self) -> NDArray[np.int64]:
        """Added tokens that may stand for other bytes than in the table, or beside other spaces."""
        table = self.table
        if table is None or self.lead:
            return self._added
        added = self.loaded.tokenizer.get_added_tokens_decoder()
        own = {id_: token.content.encode() for id_, token in added.items()}
        as_spaces = (MARK.encode(), b" ")
        doubtful = [i for i, o in own.items() if table[i] not in (o, o.replace(*as_spaces))]
        return np.array(doubtful, np.int64)

    def bytes_of(self, ids: IdArray, *, continues: bool) -> bytes:
        """The bytes that ids stand for.

        Args:
            ids: any of the vocabulary.
            continues: whether they were made behind `lead`, or go on behind others.
        """
        if self.table is None:
            decode = self.loaded.tokenizer.decode
            lead = self.lead_ids if continues else []
            whole = decode([*lead, *ids.tolist()], skip_special_tokens=False)
            return whole.removeprefix(decode(lead, skip_special_tokens=False)).encode()
        found = b"".join(map(self.table.__getitem__, ids.tolist()))
        if not self.lead or continues:
            return found
        is_own = not self.prepends and found[1:2] in (b"", b" ")
        return found if is_own else found.removeprefix(b" ")

    def may_lose(self, ids: IdArray, text: Utf8) -> bool:
        """Whether the bytes of a text's ids may be no text that has the same ids.

        Of the others they are the text's own, or its NFC, wherever it is cut.

        Args:
            ids: its bare ids.
            text: any.
        """
        if self.table is None or (len(self._doubtful) and np.isin(ids, self._doubtful).any()):
            return True
        return self.marks and MARK.encode() in text.tobytes()

    def stops(self, ids: IdArray, text: Utf8, tokenizer: Callable[[], LibraryTokenizer]) -> Stops:
        """Where the tokens of a text end in it.

        Args:
            ids: its bare ids.
            text: not empty.
            tokenizer: gives the one that made them, which is asked where the table does not fit.
        """
        if self.table is None:
            return _stops_by_library(text, tokenizer())
        ends = np.zeros(len(ids) + 1, np.int32)
        np.cumsum(self._num_bytes.take(ids), out=ends[1:])
        more = int(ends[-1]) - len(text)
        if self.lead:  # a space may have been added
            fits = more in (0, 1) and not np.isin(ids, self._added).any()
        else:  # nothing is added, but in the place of what is composed
            fits = more == 0 and not (self.composes and _may_be_composed(text))
        if not fits:
            return _stops_by_library(text, tokenizer())
        return np.maximum(ends - more, 0) if more else ends


@lru_cache(maxsize=4)
def token_bytes(loaded: LoadedTokenizer) -> TokenBytes:
    """What the ids of a tokenizer stand for."""
    structure = loaded.structure
    model: dict[str, Any] = structure.get("model") or {}
    normalizer = steps_of(structure.get("normalizer"), "normalizers")
    steps = steps_of(structure.get("pre_tokenizer"), "pretokenizers")
    kinds = [step.get("type") for step in steps]
    has_lead = treats_start(normalizer, steps, [])
    composes = normalizes_to_nfc_only(structure)
    affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    table = None
    if model.get("type", "BPE") != "BPE" or affixes:
        pass
    elif kinds[-1:] == ["ByteLevel"] and (not normalizer or composes):
        table = None if has_lead and len(steps) > 1 else _table(loaded, _byte_level)
    elif model.get("byte_fallback") and kinds in ([], ["Metaspace"], ["Split"]):
        table = _table(loaded, _piece) if all(step in _MARKING for step in normalizer) else None
    return TokenBytes(
        loaded=loaded,
        table=table,
        composes=composes,
        lead=_LEAD if has_lead else "",
        prepends=any(step.get("type") == "Prepend" for step in normalizer),
        marks="ByteLevel" not in kinds,
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


def _piece(token: str) -> bytes:
    """The bytes of a piece of SentencePiece's."""
    if _ONE_BYTE.fullmatch(token):
        return bytes([int(token[3:5], 16)])
    return token.replace(MARK, " ").encode()


def _may_be_composed(text: Utf8) -> bool:
    return int(text.max()) >= 0x80 and not is_normalized("NFC", str(text.data, "utf-8"))


def _stops_by_library(text: Utf8, tokenizer: LibraryTokenizer) -> Stops:
    """By its offsets: characters, of which those that a token has a part of are its own whole."""
    offsets = tokenizer.encode(str(text.data, "utf-8"), add_special_tokens=False).offsets
    byte_of = np.append(np.flatnonzero(text.view(np.int8) >= FIRST), len(text))
    starts, ends = np.array(offsets, np.int64).reshape(-1, 2).T
    starts = np.append(starts, len(byte_of) - 1)
    starts[0] = 0
    is_shared = np.append(False, np.maximum.accumulate(ends) > starts[1:])
    return np.where(is_shared, -1, byte_of[starts]).astype(np.int32)
