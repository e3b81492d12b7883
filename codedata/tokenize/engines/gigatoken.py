"""gigatoken (MIT, compiled): the fastest exact engine of most tokenizers.

UTF-8 -> ids. Taken where the whole structure is one that it implements, which is judged here (it
passes over what it does not know), and never for what was found to differ from the tokenizers
library: text that holds such a code point or added token goes to the library, from cut to cut.
Which code points differ is known for known structures (`codedata.tokenize.differences`); for
others it is found out beside the first chunks, and all characters beyond ASCII count as differing
meanwhile.

Its memory of words has no bound in 0.10 for byte-level tokenizers, so those are loaded anew once
the process has grown; SentencePiece's way has one a call.
"""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np
from gigatoken.gigatoken_rs import (
    BPETokenizer,
    BytesSource,
    PadTruncate,
    SentencePieceTokenizer,
    load_hf_json,
)
from numpy.typing import NDArray
from tokenizers import AddedToken

from codedata.errors import TokenizerError
from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.parallel import available_cores
from codedata.printable import shortened
from codedata.tokenize.cuts import MARK
from codedata.tokenize.differences import Twin, known_differences, probe_differences
from codedata.tokenize.engines.alone import Counted, Span, Stretch, each_alone
from codedata.tokenize.engines.base import NotProvenError, PieceEngine, ids_behind
from codedata.tokenize.engines.scan import Exceptions, cut_around
from codedata.tokenize.engines.side_by_side import each_piece
from codedata.tokenize.structure import BYTE_CHARACTERS, Pretokenizer, normalizes_to_nfc_only
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.tokenizer_json import without_parts
from codedata.tokenize.unicode_classes import NUM_CODE_POINTS

logger = logging.getLogger(__name__)

_NUM_ASCII = 128
_UTF8_BYTES = [*range(0xC0), *range(0xC2, 0xF5)]
"""The bytes that UTF-8 has."""
_SETTLED_BYTES, _GROWTH_BYTES = 32 << 20, 128 << 20
"""After so much text chunks and buffers are as large as they get; so much may memory grow then. C
has it grow by a byte for each byte, text of words that never come twice by five."""
_MAX_VOCABULARY = 1 << 24
"""It makes room for all ids up to the largest."""
_MANY_THREADS = 4
"""From so many on, those of its own outdo one call at a time, for half more CPU."""
_BATCH = 256
"""Parts that the library gets at a time, which bounds its `Encoding` objects."""
_GROUP_BYTES = 1 << 24
"""Of texts that are tokenized alone, what it gets at a time: what it has found comes padded, and
SentencePiece's way remembers words for as long."""
_AROUND = ("{0}", "a{0}b", " {0} ", "{0}{0}", "\n{0}\n", "\t{0}  x", "({0})")
"""Where an added token is tried."""


class GigatokenEngine(PieceEngine):
    """gigatoken, and the tokenizers library where the two differ."""

    name = "gigatoken"
    piece_bytes = 1 << 20
    """Long beside what a call costs; the ids of several are in the processor's cache."""

    @classmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:
        """See `PieceEngine.why_not`."""
        if not pretokenizer.peer:
            return f"it does not implement {pretokenizer.what}"
        model: dict[str, Any] = structure.get("model") or {}
        if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            return "its model marks where words start or end"
        vocab: dict[str, int] = model.get("vocab") or {}
        if not model.get("byte_fallback"):
            missing = [byte for byte in _UTF8_BYTES if BYTE_CHARACTERS[byte] not in vocab]
            if missing:
                return f"its vocabulary has no token for {len(missing)} of the bytes"
        if normalizes_to_nfc_only(structure):
            for token in structure.get("added_tokens") or []:
                if token.get("normalized") and not _is_only_itself(token["content"]):
                    return f"its added token {token['content']!r} is looked for in normalized text"
        return None

    def __init__(self, loaded: LoadedTokenizer, pretokenizer: Pretokenizer) -> None:
        super().__init__(loaded, pretokenizer)
        if loaded.vocab_size > _MAX_VOCABULARY:
            raise NotProvenError(f"it has room for each id up to {loaded.vocab_size - 1}")
        self._peer = _Peer(_untruncated(loaded))
        if self._peer.vocab_size > loaded.vocab_size:
            raise NotProvenError(
                f"it has ids up to {self._peer.vocab_size - 1}, the tokenizer up to "
                f"{loaded.vocab_size - 1}"
            )
        [lead] = ids_behind(loaded, [""], [self.lead])
        self._num_lead_ids = len(lead)
        self._words = self._words_left_to_library()
        self._probing: Thread | None = None
        self._lock = Lock()
        ranges = known_differences(loaded.structure)
        if ranges is None:
            is_same = not Twin(loaded.structure).compare(range(_NUM_ASCII)).any()
            ranges = np.array([[_NUM_ASCII, NUM_CODE_POINTS]], np.int32)
            self._probing = Thread(target=self._probe, name="compare characters", daemon=True)
        else:
            is_same = not len(ranges) or bool(ranges[0, 0] >= _NUM_ASCII)
        if not is_same:
            raise NotProvenError("it has other ids for ASCII")
        self._exceptions = Exceptions(self._words, ranges)

    def settle(self) -> None:
        """See `Engine.settle`: the comparison of characters, at most 15 seconds."""
        if self._probing is not None:
            self._start_probing()
            self._probing.join()

    def _start_probing(self) -> None:
        """Compare characters beside the chunks, once there are some beyond ASCII."""
        with self._lock:
            if self._probing is None or self._probing.ident is not None:
                return
            logger.info(
                "characters beyond ASCII are compared in the background, once for this structure, "
                "and left to the tokenizers library until then"
            )
            self._probing.start()

    def _probe(self) -> None:
        try:
            ranges = probe_differences(self._loaded.structure)
        except (TokenizerError, RuntimeError, ValueError) as error:
            logger.warning("characters beyond ASCII stay with the tokenizers library: %s", error)
        else:
            self._exceptions = Exceptions(self._words, ranges)

    def _words_left_to_library(self) -> list[bytes]:
        """What texts hold that hold an added token which gigatoken may treat otherwise."""
        added = [*self._loaded.tokenizer.get_added_tokens_decoder().values()]
        is_normalized = bool(self._loaded.structure.get("normalizer"))
        characters = {
            kind: {*chain.from_iterable(each.content for each in added if each.normalized == kind)}
            for kind in (False, True)
        }
        plain = [
            token.content
            for token in added
            if not (token.special or token.lstrip or token.rstrip or token.single_word)
            and (token.content.isspace() or not (token.normalized and is_normalized))
            # The library looks for those that are not normalized in all of a text first.
            and characters[not token.normalized].isdisjoint(token.content)
        ]
        around = [form.format(word) for word in plain for form in _AROUND]
        expected = ids_behind(self._loaded, [""] * len(around), around)
        found = self._peer.encode([text.encode() for text in around], threads=1)
        same = [a == b.tolist() for a, b in zip(expected, found, strict=True)]
        certain = {
            word
            for place, word in enumerate(plain)
            if all(same[place * len(_AROUND) : (place + 1) * len(_AROUND)])
        }
        return [self._search(token) for token in added if token.content not in certain]

    def _search(self, token: AddedToken) -> bytes:
        """What stands in every text in which an added token is found."""
        found = token.content
        if token.normalized and self._loaded.structure["model"].get("byte_fallback"):
            found = max(re.split(f"[ {MARK}]", found), key=len)  # a mark may be a space of the text
        if not found:
            raise NotProvenError(f"its added token {token.content!r} is looked for among marks")
        return found.encode()

    def encode_pieces(
        self, text: Utf8, pieces: Sequence[Span], *, threads: int
    ) -> Sequence[IdArray]:
        """See `PieceEngine.encode_pieces`."""
        if not pieces:
            return []
        stretch = Stretch.within([0, *(stop for _, stop in pieces)], len(text))
        ids, counts = self._encode(text, stretch, threads)
        return np.split(ids, counts[:-1].cumsum())

    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        """See `Engine.encode_each`."""
        return each_alone(
            lambda group: self._encode(text, group, threads),
            Stretch.of(ends).cut(text, self._pretokenizer.cut, self.piece_bytes),
            ends,
            group_bytes=_GROUP_BYTES,
            threads=1,
            dtype=self._dtype,
        )

    def _encode(self, text: Utf8, stretch: Stretch, threads: int) -> Counted:
        parts, is_left = self._divide(text, stretch)
        left = is_left.tolist()
        begins, lead, spans = parts.begins, self.lead.encode(), parts.spans
        own = [
            text[start:stop].tobytes() if start in begins else lead + text[start:stop].tobytes()
            for (start, stop), other in zip(spans, left, strict=True)
            if not other
        ]
        places = np.flatnonzero(is_left).tolist()
        batches = (places[at : at + _BATCH] for at in range(0, len(places), _BATCH))
        others = chain.from_iterable(
            self.by_library(text, [spans[place] for place in batch], begins=begins)
            for batch in batches
        )
        ids = iter(self._peer.encode(own, threads=threads))
        found = [
            next(others) if other else next(ids)[0 if start in begins else self._num_lead_ids :]
            for (start, _), other in zip(spans, left, strict=True)
        ]
        counts = np.array([*map(len, found)])
        return (
            np.concatenate(found, dtype=self._dtype, casting="unsafe"),
            np.add.reduceat(counts, np.searchsorted(parts.edges, stretch.edges[:-1])),
        )

    def _divide(self, text: Utf8, stretch: Stretch) -> tuple[Stretch, NDArray[np.bool_]]:
        """The pieces in parts, and which of these are left to the library, shape (num_parts,)."""
        first, last = stretch.edges[[0, -1]].tolist()
        whole = text[first:last]
        is_ascii = whole.tobytes().isascii()
        if self._probing is not None and not is_ascii:
            self._start_probing()
        found = self._exceptions.find(whole, is_ascii=is_ascii)
        of_pieces: dict[int, list[Span]] = {}
        starts = np.array([start for start, _ in found], np.int64) + first
        pieces = np.searchsorted(stretch.edges, starts, "right") - 1
        for piece, (start, stop) in zip(pieces.tolist(), found, strict=True):
            of_pieces.setdefault(piece, []).append((first + start, first + stop))
        left: list[Span] = []
        for piece, spans in of_pieces.items():
            start, stop = stretch.edges[piece : piece + 2].tolist()
            inside = [(low - start, min(high, stop) - start) for low, high in spans]
            around = cut_around(text[start:stop], inside, self._pretokenizer.cut)
            left += [(start + low, start + high) for low, high in around]
        parts = stretch.with_edges(np.array(left, np.int64).ravel())
        return parts, parts.holding(np.array([low for low, _ in left], np.int64))


def _untruncated(loaded: LoadedTokenizer) -> bytes:
    """A tokenizer.json without the truncation and padding that gigatoken would honour."""
    unwanted = [part for part in ("truncation", "padding") if loaded.structure.get(part)]
    return without_parts(loaded.json_bytes, unwanted) if unwanted else loaded.json_bytes


def _is_only_itself(content: str) -> bool:
    """Whether NFC makes it of nothing else: three ASCII characters have a second code point."""
    return content.isascii() and not {*content} & {"K", ";", "`"}


class _Peer:
    """gigatoken's tokenizer, loaded anew when its memory of words has grown.

    Args:
        tokenizer_json: of the tokenizer.

    Raises:
        NotProvenError: gigatoken refuses it.
    """

    def __init__(self, tokenizer_json: bytes) -> None:
        self._json, self._lock = tokenizer_json, Lock()
        self._tokenizer = self._load()
        self.vocab_size: int = self._tokenizer.vocab_size

    def encode(self, texts: Sequence[bytes], *, threads: int) -> list[NDArray[np.uint32]]:
        """The ids of texts, without what frames them."""
        tokenizer = self._current(sum(map(len, texts)))
        is_byte_level = isinstance(tokenizer, BPETokenizer)
        in_its_threads = is_byte_level and min(threads, _library_threads()) >= _MANY_THREADS
        if is_byte_level:
            threads = 1  # it makes one call at a time, and is soon done
        found: dict[int, NDArray[np.uint32]] = {}
        for places in _of_about_one_length(texts):
            size = -(-len(places) // threads)
            calls = [places[at : at + size] for at in range(0, len(places), size)]
            ids = each_piece(
                lambda some: _encode(tokenizer, [texts[p] for p in some], parallel=in_its_threads),
                calls,
                threads,
            )
            found |= zip(places, chain.from_iterable(ids), strict=True)
        return [found[place] for place in range(len(texts))]

    def _current(self, num_bytes: int) -> BPETokenizer | SentencePieceTokenizer:
        """The tokenizer to use for so many bytes more."""
        with self._lock:
            self._num_bytes += num_bytes
            if isinstance(self._tokenizer, BPETokenizer) and self._num_bytes > _SETTLED_BYTES:
                resident = _resident_bytes() or self._num_bytes
                self._resident = self._resident or resident
                if resident - self._resident > _GROWTH_BYTES:
                    self._tokenizer = self._load()
            return self._tokenizer

    def _load(self) -> BPETokenizer | SentencePieceTokenizer:
        try:
            tokenizer = load_hf_json(self._json)
        except (RuntimeError, ValueError) as error:
            why = shortened(" ".join(str(error).split()))
            raise NotProvenError(f"it says {why}") from error
        self._num_bytes = self._resident = 0
        return tokenizer


def _encode(
    tokenizer: BPETokenizer | SentencePieceTokenizer, texts: Sequence[bytes], *, parallel: bool
) -> list[NDArray[np.uint32]]:
    """The ids of texts of about one length: they come as the rows of one array.

    A list of texts instead of a source would have it import awkward: 0.15 s.
    """
    source = BytesSource(list(texts))
    rows, lengths = tokenizer.encode_batch_padded(source, PadTruncate(0), parallel=parallel)
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]


def _of_about_one_length(texts: Sequence[bytes]) -> Iterator[list[int]]:
    """The places of texts in groups, of which each is at most twice as long as the shortest."""
    group: list[int] = []
    for place in sorted(range(len(texts)), key=lambda place: len(texts[place])):
        if group and len(texts[place]) > 2 * len(texts[group[0]]):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _library_threads() -> int:
    """Threads that gigatoken and the tokenizers library start."""
    declared = os.environ.get("RAYON_NUM_THREADS", "")
    return int(declared) if declared.isdecimal() else available_cores()


def _resident_bytes() -> int:
    """Memory that this process has; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
