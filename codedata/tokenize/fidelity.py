"""A tokenizer and text -> nothing, or the reason why the tokenizer or its ids are refused.

Before a run two things are compared over a small sample: the engine's ids with those of the
tokenizer's own file, and the text with what its ids decode to. The second finds tokenizers that
lose white space or characters, as deepseek-coder's did when transformers 5 rebuilt it. In the run,
a sample of every chunk's own ids is compared with the tokenizers library's, and one of every chunk
that an earlier run left.
"""

import re
import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
from tokenizers.normalizers import NFC

from codedata.errors import ExactnessError, TokenizerError
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange, Utf8
from codedata.format.texts import Texts
from codedata.tokenize.agreement import first_difference
from codedata.tokenize.bare_ids import TextIds
from codedata.tokenize.engines.base import Encoded, Engine, as_utf8, ids_behind, reference_ids
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.probe import HOSTILE, PROBE
from codedata.tokenize.structure import normalizes_to_nfc_only
from codedata.tokenize.tokenizer import LoadedTokenizer

SAMPLE_CHARS = 16_384
"""Characters of the text that a run checks before it starts: milliseconds of work."""

_ADDED_TOKENS = 32
"""So many of a tokenizer's added tokens are tried before a run."""

COMPARED_PIECES, COMPARED_BYTES = 4, 3_072
"""Of each chunk so many pieces of at most so many bytes are tokenized again: 8 ms of work."""

_COMPARED_TEXTS = 500
"""Of a chunk of many short texts so many are tokenized again at most: 10 ms of work."""

STORED_CHARS = 16_384
"""Characters of each chunk that was stored by an earlier run that are tokenized again."""


def check_fidelity(
    loaded: LoadedTokenizer, engine: Engine, sample: str, *, where: str = "the text"
) -> None:
    """Refuse a tokenizer or an engine that does not give the text's own ids.

    Args:
        loaded: the tokenizer.
        engine: the engine that the run uses.
        sample: some of the text that will be tokenized.
        where: what the sample is, for the message.

    Raises:
        TokenizerError: naming the first difference.
    """
    check_built_in(loaded, engine)
    check_sample(loaded, engine, sample, where)


def check_built_in(loaded: LoadedTokenizer, engine: Engine) -> None:
    """The part of `check_fidelity` that is about no text of the user's."""
    added = loaded.tokenizer.get_added_tokens_decoder().values()
    tokens = " ".join(token.content for token in [*added][:_ADDED_TOKENS])
    hostile = f"{HOSTILE}\n{tokens}{tokens} a{tokens}"
    check_sample(loaded, engine, PROBE, "the built-in sample of C")
    _check_ids(loaded, engine, hostile, "the built-in text of oddities")


def check_sample(loaded: LoadedTokenizer, engine: Engine, text: str, name: str) -> None:
    """The part of `check_fidelity` that is about one text."""
    _check_ids(loaded, engine, text, name)
    _check_round_trip(loaded, text, name)


def without_special_tokens(loaded: LoadedTokenizer, text: str) -> str:
    """A text without what stands for special tokens, which decoders may surround with spaces."""
    added = loaded.tokenizer.get_added_tokens_decoder().values()
    for content in sorted((t.content for t in added if t.special), key=len, reverse=True):
        text = text.replace(content, "")
    return text


def _check_ids(loaded: LoadedTokenizer, engine: Engine, text: str, name: str) -> None:
    expected, found = reference_ids(loaded, text), engine.encode(as_utf8(text)).ids.tolist()
    if expected != found:
        raise TokenizerError(
            f"the engine '{engine.name}' and {loaded.files.tokenizer_json} give different ids "
            f"for {name}, from token {first_difference(expected, found)} on; please report "
            "this with the tokenizer's name"
        )


def tokenize_and_compare(
    loaded: LoadedTokenizer, engine: Engine, text: Utf8, *, threads: int, seed: int, where: str
) -> tuple[IdArray, dict[str, Any]]:
    """Tokenize a chunk, and some pieces of it again with the tokenizers library.

    A text in which no piece can be cut out is left to the library as one string: of the engine's
    ids nothing could be compared.

    Args:
        loaded: the tokenizer.
        engine: of it.
        text: the chunk.
        threads: that the engine may use.
        seed: chooses the pieces.
        where: what the chunk is, for the message.

    Returns:
        The ids, shape (num_tokens,), special tokens included; the name of the `engine` that made
        them, and how many bytes of the text were compared, 0 where the ids are the library's own.

    Raises:
        ExactnessError: naming the text and the first difference.
    """
    encoded = engine.encode(text, threads=threads)
    compared_bytes = compare_ids(loaded, engine, text, encoded, seed=seed, where=where)
    if engine.cut is not None and not compared_bytes:
        engine = WholeTextEngine(loaded)
        encoded = engine.encode(text)
    return encoded.ids, {"engine": engine.name, "compared_bytes": compared_bytes}


def compare_ids(
    loaded: LoadedTokenizer, engine: Engine, text: Utf8, encoded: Encoded, *, seed: int, where: str
) -> int:
    """Tokenize some pieces of a chunk again, from a mark to a cut, and compare.

    Returns:
        Bytes of text compared: at most COMPARED_PIECES * COMPARED_BYTES; 0 where the engine is the
        library itself on the whole text, or where the text has no place to cut a piece at.

    Raises:
        ExactnessError: naming the text and the first difference.
    """
    if engine.cut is None:
        return 0
    compared = num_pieces = 0
    for index in np.random.default_rng(seed).permutation(len(encoded.marks)):
        start, place = encoded.marks[index]
        stop = min(start + COMPARED_BYTES, len(text))
        if stop < len(text):
            found = engine.cut.search(text.data, start + COMPARED_BYTES // 2, stop)
            if found is None:
                continue
            stop = found.start()
        piece, lead = str(text[start:stop].data, "utf-8"), engine.lead if start else ""
        [expected] = ids_behind(loaded, [lead], [piece])
        ids = encoded.ids[place : place + len(expected)].tolist()
        if expected != ids:
            num_before = len(str(text[:start].data, "utf-8"))
            at = f"{where}, from {num_before} on"
            raise _not_exact(loaded, engine, lead, piece, (expected, ids), at)
        compared += stop - start
        num_pieces += 1
        if num_pieces == COMPARED_PIECES:
            break
    return compared


def compare_texts(
    loaded: LoadedTokenizer,
    engine: Engine,
    texts: Texts,
    found: TextIds,
    *,
    seed: int,
    name: Callable[[int], str],
) -> int:
    """Tokenize some texts again: those that are short, and of others a piece from cut to cut.

    Args:
        loaded: the tokenizer.
        engine: that made the ids.
        texts: of which the ids are.
        found: bare.
        seed: chooses texts and pieces.
        name: what a text is, by its place, for the message.

    Returns:
        Bytes of text compared, as of `compare_ids`; 0 where the engine is the library itself, or
        where no text is short or has a place to cut at.

    Raises:
        ExactnessError: naming the text and the first difference.
    """
    if engine.cut is None:
        return 0
    random, compared = np.random.default_rng(seed), 0
    for place in random.permutation(np.flatnonzero(texts.num_bytes))[:_COMPARED_TEXTS].tolist():
        if compared > (COMPARED_PIECES - 1) * COMPARED_BYTES:
            break
        text, ids = texts[place], found[place]
        start, stop = _piece_to_compare(engine.cut, text, random)
        piece, lead = str(text[start:stop].data, "utf-8"), engine.lead if start else ""
        [expected] = ids_behind(loaded, [lead], [piece])
        if start == 0:
            is_same = ids[: len(expected)].tolist() == expected
        else:
            is_same = _stand_in(expected, ids)
        if not is_same or (stop - start == len(text) and len(expected) != len(ids)):
            before = str(text[:start].data, "utf-8")
            upto = len(loaded.tokenizer.encode(before, add_special_tokens=False).ids)
            there = ids[upto : upto + len(expected)] if stop < len(text) else ids[upto:]
            at = f"{name(place)}, from character {len(before)} on"
            raise _not_exact(loaded, engine, lead, piece, (expected, there.tolist()), at)
        compared += stop - start
    return compared


def _piece_to_compare(
    cut: re.Pattern[bytes], text: Utf8, random: np.random.Generator
) -> tuple[int, int]:
    """Start and stop of a piece of at most COMPARED_BYTES between cuts; of none, both are equal.

    That of a short text is all of it; of others, it may be their start.
    """
    if len(text) <= COMPARED_BYTES:
        return 0, len(text)
    half = COMPARED_BYTES // 2
    drawn = max(0, int(random.integers(-COMPARED_BYTES, len(text) - COMPARED_BYTES)))
    first = cut.search(text.data, drawn, drawn + half) if drawn else None
    start = first.start() if first else 0
    if len(text) - start <= COMPARED_BYTES:
        return start, len(text)
    last = cut.search(text.data, start + half, start + COMPARED_BYTES)
    return start, last.start() if last else start


def holds_ids_of(
    loaded: LoadedTokenizer,
    engine: Engine,
    read: Callable[[CharRange], Utf8],
    chars: CharRange,
    ids: IdArray,
) -> bool:
    """Whether stored ids can be a chunk's, going by a stretch of its text that nobody can foresee.

    The library's ids for the stretch must stand among the stored ones, one after the other. Where
    no place to cut at is proven, or none is found, those of its middle must, for what lies beyond
    its ends may change the others; and if they do not, the whole chunk is tokenized again.

    Args:
        loaded: the tokenizer.
        engine: of it.
        read: gives characters of the text.
        chars: the chunk's.
        ids: stored, shape (num_tokens,).
    """
    if chars.num_chars > STORED_CHARS:
        start = chars.start + secrets.randbelow(chars.num_chars - STORED_CHARS)
        text = read(CharRange(start, start + STORED_CHARS, chars.file))
        cuts = [found.start() for found in engine.cut.finditer(text.data)] if engine.cut else []
        proven = len(cuts) > 1
        piece = str((text[cuts[0] : cuts[-1]] if proven else text).data, "utf-8")
        [expected] = ids_behind(loaded, [engine.lead], [piece])
        quarter = 0 if proven else len(expected) // 4
        expected = expected[quarter : len(expected) - quarter]
        stands = _stand_in(expected, ids)
        if expected and (stands or proven):
            return stands
    return reference_ids(loaded, str(read(chars).data, "utf-8")) == ids.tolist()


def _stand_in(piece: list[int], ids: IdArray) -> bool:
    """Whether some ids stand among others, one after the other."""
    if max(piece, default=0) > np.iinfo(ids.dtype).max:
        return False
    sought, among = np.array(piece, ids.dtype).tobytes(), ids.tobytes()
    place = among.find(sought)
    while place % ids.itemsize and place >= 0:  # the bytes of one id and the next one's
        place = among.find(sought, place + 1)
    return place >= 0


def _not_exact(
    loaded: LoadedTokenizer,
    engine: Engine,
    lead: str,
    piece: str,
    differing: tuple[list[int], list[int]],
    where: str,
) -> ExactnessError:
    expected, ids = differing
    place = first_difference(expected, ids)
    encoding = loaded.tokenizer.encode(lead + piece, add_special_tokens=False)
    at = min(place - len(expected), -1)
    near = max(0, encoding.offsets[at][0] - len(lead)) if expected else 0
    return ExactnessError(
        f"engine {engine.name!r} and {loaded.files.tokenizer_json} give different ids for "
        f"{piece[max(0, near - 20) : near + 20]!r} ({where}): {ids[place : place + 5]} for "
        f"{expected[place : place + 5]}; nothing of it was stored; report this, and choose the "
        "engine 'whole' meanwhile"
    )


def lost_text(loaded: LoadedTokenizer, text: str, name: str) -> str | None:
    """What a text's ids do not decode to, the first place of it; None where all comes back.

    Added tokens that stand for one visible character are left out of the comparison: byte-level
    decoders cannot give them back (deepseek-coder's 32000 to 32012, such as 'ü', decode to U+FFFD).

    Args:
        loaded: the tokenizer.
        text: some text.
        name: what it is, for the message.
    """
    added = loaded.tokenizer.get_added_tokens_decoder().values()
    single = {ord(t.content) for t in added if len(t.content) == 1 and not t.content.isspace()}
    text = text.translate(dict.fromkeys(single))
    if normalizes_to_nfc_only(loaded.structure):
        text = NFC().normalize_str(text)
    ids = loaded.tokenizer.encode(text, add_special_tokens=False).ids
    decoded = loaded.tokenizer.decode(ids, skip_special_tokens=False)
    if text == decoded:
        return None
    place = first_difference(text, decoded)
    found, back = (repr(each[max(0, place - 10) : place + 20]) for each in (text, decoded))
    lost = _without_space(text) == _without_space(decoded)
    return (
        f"the tokenizer {loaded.files.source} loses {'white space' if lost else 'text'}: in "
        f"{name}, {found} comes back as {back} (character {place})"
    )


def _check_round_trip(loaded: LoadedTokenizer, text: str, name: str) -> None:
    """Refuse a tokenizer whose ids do not decode to the text."""
    lost = lost_text(loaded, text, name)
    if lost is not None and not _keeps_no_text(loaded):
        raise TokenizerError(f"{lost}; use the tokenizer.json that the model was published with")


def _keeps_no_text(loaded: LoadedTokenizer) -> bool:
    """Whether the model has an id for what it does not know, so that loss is how it is meant."""
    model: dict[str, Any] = loaded.structure.get("model") or {}
    return model.get("type") in ("Unigram", "WordLevel", "WordPiece")


def _without_space(text: str) -> str:
    return "".join(text.split())
