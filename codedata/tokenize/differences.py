r"""A tokenizer.json's structure -> the code points that gigatoken and the library take differently.

Both split text by Unicode's classes, each by tables of its own Unicode version, so code points that
were assigned or changed in between end pre-tokens in one and not in the other. Which ones they are
depends on the normalizer, the pre-tokenizer and the two versions, never on the vocabulary: known
sets stand beside this module (tools/difference_tables.py makes them), others are probed once and
kept on this machine.

A probe encodes a line for every code point with both, through a twin: the tokenizer's own
normalizer and pre-tokenizer over a vocabulary in which the ids show every border that a code point
can have. Byte-level: 256 bytes, and merges only of a character's last byte with the next one's
first. SentencePiece's way: byte tokens, and merges with the marker of spaces. The lines tell apart
all classes that gigatoken's pre-tokenizers know; on planes 2 to 13, 15 and 16 (ideographs, private
use, nothing) they are shorter, and tell what is unassigned or private from all else. A probe takes
some 12 s of CPU, most of it the library's.

NFC composes pairs: where it is the normalizer, what it makes of every code point of planes 0 and 1
beside each of its block, and beside the marks of all scripts, is compared too. Of a pair that
differs it is enough to know one. Characters never compose anew with each other once both are
assigned (https://www.unicode.org/policies/stability_policy.html), so these are all of new scripts.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers.normalizers import NFC

from codedata.store.notes import read_note, write_note
from codedata.tokenize.library import LibraryTokenizer
from codedata.tokenize.structure import BYTE_CHARACTERS, canonical, steps_of
from codedata.tokenize.unicode_classes import NUM_CODE_POINTS

TABLE = Path(__file__).with_name("differences.json")
_NOTES, _BEGUN = "differences-1", "differences-begun-1"

_NOT_COMPARED = np.array([[0, 0xD800], [0xE000, NUM_CODE_POINTS]], np.int32)
"""All but the surrogates."""

# C stands for the code point. Alone, doubled, beside letters of either case, digits, blanks,
# punctuation, newlines, an ideograph, and where a contraction may end (U+017F is an s to (?i:'s)).
_CONTEXTS = "CC CAa aC!!C a'Ca 中C中 C1\nC\r\n"
_FEW_CONTEXTS = "aC C1C!\n"
_MARKED_CONTEXTS, _FEW_MARKED_CONTEXTS = "C CC aC  C\u2581C Ca\nC", "C C"
"""Texts of their own: SentencePiece's normalizers look at where a text begins and ends."""
_MARKS = [*map(chr, range(0x300, 0x346)), "\u3099", "\u309a"]
_COMPOSED = "CC\naC\u0323\u0301\n\u1100C\n" + "".join(f"C{mark}\n" for mark in _MARKS)
"""Shows another combining class, and what composes with a letter, a mark or a Hangul consonant."""
_NEIGHBOURS = "aA1 !'\n\r"
"""What stands on both sides of an ASCII character, beside every other one after it."""

_ASCII = range(128)
_FULL = (range(128, 0xD800), range(0xE000, 0x20000), range(0xE0000, 0xF0000))
_OTHERS = (range(0x20000, 0xE0000), range(0xF0000, NUM_CODE_POINTS))
"""Planes 2 to 13, 15 and 16."""
_UNCOMPOSED = (range(0x3400, 0xA000), range(0xAC00, 0xF900), range(0x17000, 0x18E00))
"""Ideographs, private use, and Hangul syllables, which compose by a rule without tables."""

_BATCH = 2048
"""Code points between two looks at the clock: at most 0.1 s of work."""
_ROWS = 128
"""Code points of which all pairs are tried: a script seldom has a larger block of Unicode."""
_BLOCK = 64
"""Lines that are compared as one text first; a call costs a text more than a line."""


def known_differences(structure: Mapping[str, Any]) -> NDArray[np.int32] | None:
    """The code points that differ, from the package's table or this machine's notes.

    Args:
        structure: a parsed tokenizer.json.

    Returns:
        Sorted ranges, shape (num_ranges, 2), stops exclusive; None where nobody knows them.
    """
    key = structure_key(structure)
    table = _table()
    steps = table[key] if key in table else read_note(_NOTES, key)
    return None if steps is None else ranges_of_steps(steps)


def probe_differences(structure: Mapping[str, Any], *, seconds: float = 15.0) -> NDArray[np.int32]:
    """Compare every code point but the surrogates, planes 0, 1 and 14 first, and keep the result.

    Args:
        structure: a parsed tokenizer.json that gigatoken can load.
        seconds: the longest it may take; what it did not come to counts as differing. The next
            probe on this machine goes on from there.

    Returns:
        As `known_differences`.

    Raises:
        TokenizerError: the library cannot work with the normalizer or the pre-tokenizer.
        ValueError: gigatoken cannot.
    """
    deadline = time.monotonic() + seconds
    key = structure_key(structure)
    begun = read_note(_BEGUN, key) or {"batches": 0, "steps": steps_of_ranges(_NOT_COMPARED)}
    twin, done = Twin(structure), begun["batches"]
    differing = np.zeros(NUM_CODE_POINTS, dtype=bool)
    for start, stop in ranges_of_steps(begun["steps"]).tolist():
        differing[start:stop] = True
    batches = [*_batches()]
    while done < len(batches) and time.monotonic() < deadline:
        differing[batches[done]] = twin.compare(batches[done])
        done += 1
    ranges = ranges_of_flags(differing)
    if done == len(batches):
        write_note(_NOTES, key, steps_of_ranges(ranges))
    else:
        write_note(_BEGUN, key, {"batches": done, "steps": steps_of_ranges(ranges)})
    return ranges


def structure_key(structure: Mapping[str, Any]) -> str:
    """Names all that decides which code points differ."""
    model = structure.get("model") or {}
    decisive = [
        steps_of(structure.get("normalizer"), "normalizers"),
        [*map(canonical, steps_of(structure.get("pre_tokenizer"), "pretokenizers"))],
        bool(model.get("byte_fallback")),
        bool(model.get("ignore_merges")),
        version("tokenizers"),
        version("gigatoken"),
    ]
    return sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def ranges_of_flags(differing: NDArray[np.bool_]) -> NDArray[np.int32]:
    """A flag a code point -> ranges of those that are set."""
    edges = np.diff(differing.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges).astype(np.int32).reshape(-1, 2)


def steps_of_ranges(ranges: NDArray[np.int32]) -> list[int]:
    """Ranges as JSON: how far it is from each start and stop to the next."""
    return np.diff(ranges.ravel(), prepend=0).tolist()


def ranges_of_steps(steps: Sequence[int]) -> NDArray[np.int32]:
    """The inverse of `steps_of_ranges`."""
    return np.cumsum(np.array(steps, dtype=np.int32), dtype=np.int32).reshape(-1, 2)


class Twin:
    """A structure's normalizer and pre-tokenizer, in both libraries, over ids that show borders.

    Args:
        structure: as `probe_differences`, and with its errors.
    """

    def __init__(self, structure: Mapping[str, Any]) -> None:
        # It is optional: not every machine has a wheel.
        from gigatoken.gigatoken_rs import load_hf_json

        self._marked = bool((structure.get("model") or {}).get("byte_fallback"))
        self._composes = '"NFC"' in json.dumps(structure.get("normalizer"))
        vocab, merges = _marked_model() if self._marked else _byte_level_model()
        data = json.dumps(_tokenizer_json(structure, vocab, merges)).encode()
        self._library = LibraryTokenizer(data, "the twin of a tokenizer.json")
        self._fast = load_hf_json(data)

    def compare(self, code_points: range) -> NDArray[np.bool_]:
        """Whether each of a range of code points, surrogates left out, differs."""
        if code_points.stop <= _ASCII.stop and not self._marked:
            return self._compare_ascii(code_points)
        template = self._template(code_points)
        lines = [template.replace("C", chr(each)) for each in code_points]
        if self._marked:
            return self._differ(lines)
        blocks = [lines[place : place + _BLOCK] for place in range(0, len(lines), _BLOCK)]
        differing = np.zeros(len(lines), dtype=bool)
        for place in np.flatnonzero(self._differ(["".join(block) for block in blocks])):
            alone = self._differ(blocks[place])
            differing[place * _BLOCK : (place + 1) * _BLOCK] = alone if alone.any() else True
        if self._composes and code_points.stop <= 0x20000:
            differing |= _composed_otherwise(code_points, differing)
        return differing

    def _template(self, code_points: range) -> str:
        few = any(code_points.start in planes for planes in _OTHERS)
        if self._marked:
            return _FEW_MARKED_CONTEXTS if few else _MARKED_CONTEXTS
        return _FEW_CONTEXTS if few else _CONTEXTS

    def _compare_ascii(self, code_points: range) -> NDArray[np.bool_]:
        texts = [_ascii_texts(chr(each)) for each in code_points]
        each_text = self._differ([text for group in texts for text in group])
        return np.any(each_text.reshape(len(texts), -1), axis=1)

    def _differ(self, texts: list[str]) -> NDArray[np.bool_]:
        from gigatoken.gigatoken_rs import PadTruncate

        expected = self._library.encode_batch_fast(texts, add_special_tokens=False)
        rows, lengths = self._fast.encode_batch_padded(texts, PadTruncate(0), parallel=False)
        pairs = zip(expected, rows, lengths, strict=True)
        return np.array([each.ids != row[:length].tolist() for each, row, length in pairs], bool)


def _composed_otherwise(code_points: range, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which code points NFC composes in one way and not in the other, and the `known` ones.

    gigatoken has no normalizer to call: over a vocabulary of bytes its ids are the text it made.
    """
    from gigatoken.gigatoken_rs import PadTruncate, load_hf_json

    vocab = {character: byte for byte, character in BYTE_CHARACTERS.items()}
    pre_tokenizer = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    structure = {"normalizer": {"type": "NFC"}, "pre_tokenizer": pre_tokenizer}
    fast = load_hf_json(json.dumps(_tokenizer_json(structure, vocab, [])))
    library = NFC()

    def differ(texts: list[str]) -> Iterator[bool]:
        rows, lengths = fast.encode_batch_padded(texts, PadTruncate(0), parallel=False)
        for text, row, length in zip(texts, rows, lengths, strict=True):
            yield library.normalize_str(text).encode() != row[:length].astype(np.uint8).tobytes()

    known = known.copy()
    for start in range(0, len(code_points), _ROWS):
        rows = slice(start, start + _ROWS)
        if any(code_points[start] in each for each in _UNCOMPOSED):
            continue
        characters = [chr(each) for each in code_points[rows]]
        known[rows] |= np.array([*differ([_COMPOSED.replace("C", c) for c in characters])])
        unknown = [c for c, is_known in zip(characters, known[rows], strict=True) if not is_known]
        pairs = "".join(f"C{second}\n" for second in unknown)
        texts = [pairs.replace("C", first) for first in unknown]
        known[start + np.flatnonzero(~known[rows])] = [*differ(texts)]
    return known


def _batches() -> Iterator[range]:
    """All code points but the surrogates, the usual ones first."""
    for part in (_ASCII, *_FULL, *_OTHERS):
        for start in range(part.start, part.stop, _BATCH):
            yield range(start, min(start + _BATCH, part.stop))


@cache
def _table() -> dict[str, list[int]]:
    families: dict[str, Any] = json.loads(TABLE.read_bytes())
    return {key: family["steps"] for family in families.values() for key in family["keys"]}


def _ascii_texts(character: str) -> list[str]:
    """Texts so short that no border in them is hidden by another one."""
    pairs = [character + chr(each) for each in _ASCII]
    return pairs + [f"{before}{character}{after}" for before, after in _sides()]


def _sides() -> Iterator[tuple[str, ...]]:
    return product(_NEIGHBOURS, repeat=2)


def _byte_level_model() -> tuple[dict[str, int], list[list[str]]]:
    """256 bytes, and merges across the borders of characters; those of ASCII alone come last.

    A character beyond ASCII shows both its borders, since its first and its last byte merge each
    with one neighbour. ASCII characters have one byte: the texts that look at them are two or
    three characters, for which all that a pre-token can be is a token.
    """
    ascii_, firsts = list(_ASCII), list(range(0xC2, 0xF5))
    borders = [*product(range(0x80, 0xC0), firsts + ascii_), *product(ascii_, firsts)]
    borders += product(ascii_, ascii_)
    merges = [[BYTE_CHARACTERS[left], BYTE_CHARACTERS[right]] for left, right in borders]
    for before, after in _sides():
        for each in _ASCII:
            first, second, third = (BYTE_CHARACTERS[ord(c)] for c in (before, chr(each), after))
            merges += [[first + second, third], [first, second + third]]
    return _vocab_of([BYTE_CHARACTERS[byte] for byte in range(256)], merges), merges


def _marked_model() -> tuple[dict[str, int], list[list[str]]]:
    """Byte tokens, ASCII, and merges on either side of the marker that stands for a space."""
    mark = "\u2581"
    visible = [chr(each) for each in range(ord("!"), 127)]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    merges = [[mark, each] for each in (mark, *byte_tokens[0xC2:0xF5], *visible)]
    merges.append(["a", mark])
    return _vocab_of(["<unk>", *byte_tokens, mark, *visible], merges), merges


def _vocab_of(tokens: list[str], merges: list[list[str]]) -> dict[str, int]:
    every = dict.fromkeys([*tokens, *("".join(merge) for merge in merges)])
    return {token: token_id for token_id, token in enumerate(every)}


def _tokenizer_json(
    structure: Mapping[str, Any], vocab: dict[str, int], merges: list[list[str]]
) -> dict[str, Any]:
    declared = structure.get("model") or {}
    model = {
        "type": "BPE",
        "unk_token": "<unk>" if "<unk>" in vocab else None,
        "fuse_unk": False,
        "byte_fallback": bool(declared.get("byte_fallback")),
        "ignore_merges": bool(declared.get("ignore_merges")),
        "vocab": vocab,
        "merges": merges,
    }
    parts = {part: structure.get(part) for part in ("normalizer", "pre_tokenizer")}
    return {"version": "1.0", "added_tokens": [], "model": model, **parts}
