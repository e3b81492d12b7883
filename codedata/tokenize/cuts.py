r"""The parts of a tokenizer.json -> between which characters its texts may be cut.

A text may be cut behind a letter or digit and before white space where

- no step of the normalizer joins, moves or removes what stands there;
- no match of the pre-tokenizer reaches across, or depends on what lies beyond;
- a pre-token always ends there; or, in a model that merges characters, no token holds the two side
  by side, so that no merge can join what stands left and right;
- no added token lies across, or takes in white space beyond.

What is not known to be so counts as not being so.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from string import ascii_letters, digits
from typing import Any, NamedTuple, cast

from tokenizers.normalizers import Precompiled

from codedata.errors import TokenizerError
from codedata.tokenize import patterns
from codedata.tokenize.library import LibraryTokenizer, library_call

Step = dict[str, Any]

ALNUM, SPACES = digits + ascii_letters, " \t\r\n"
MARK = "▁"
"""What stands for a space in SentencePiece's vocabularies."""
NEWLINES = {"[\r\n]": "\r\n", r"[\r\n]": "\r\n", "\n": "\n"}
"""The white space that patterns of newlines match, each character alone."""

_UNICODE = ("NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Nmt")
"""Normalizers of single characters: ASCII letters stay letters, digits digits, white space white
space, though perhaps others. NFC leaves them as they are."""

_BESIDE = re.compile(rf"(?=([0-9A-Za-z])([ \t\r\n{MARK}]))")
_FEW = 20
"""So many letters are given up as places to cut behind, rather than the white space behind them."""


class _Normalized(NamedTuple):
    """What a normalizer does to letters, digits and white space.

    Attributes:
        letters: that stay letters and digits before a space.
        spaces: that stay white space, or become marks.
        is_marked: spaces become `MARK`s.
        is_kept: all others stay what they are.
    """

    letters: str
    spaces: str
    is_marked: bool
    is_kept: bool


def between(letters: str, spaces: str) -> re.Pattern[bytes]:
    """Behind one of some letters and digits, before one of some white space."""
    return re.compile(f"(?<=[{letters}])(?=[{spaces}])".encode())


def word_cuts(
    model: dict[str, Any], normalizer: Sequence[Step], steps: Sequence[Step]
) -> tuple[str, str] | str:
    """The letters and digits, and the white space, between which a text may be cut.

    Args:
        model: of a tokenizer.json.
        normalizer: its steps.
        steps: of its pre-tokenizer, canonical.

    Returns:
        Both as strings of characters; or the reason why there are none.
    """
    normalized = _normalized(normalizer)
    if isinstance(normalized, str):
        return normalized
    letters, spaces, is_marked, is_kept = normalized
    ends: set[str] = set()
    merges_characters = is_kept
    for step in steps:
        found = _ends_of_words(step, is_marked=is_marked)
        if isinstance(found, str):
            return found
        ends |= found
        is_marked |= step.get("type") == "Metaspace"
        if step.get("type") == "ByteLevel":
            merges_characters = False
            break  # what comes next sees the characters that stand for bytes
    certain = "".join(space for space in spaces if space in ends)
    if merges_characters and certain != spaces:
        by_vocabulary = _cuts_by_vocabulary(model, spaces, certain, MARK if is_marked else " ")
        if not (isinstance(by_vocabulary, str) and certain):
            return by_vocabulary
    return (
        (letters, certain)
        if letters and certain
        else "its pre-tokenizer does not end words at white space"
    )


def _normalized(normalizer: Sequence[Step]) -> _Normalized | str:
    letters, spaces, is_marked, is_kept = ALNUM, SPACES, False, True
    for step in normalizer:
        kind, pattern = step.get("type"), step.get("pattern") or {}
        if kind in ("NFC", "Prepend", "Strip"):
            continue
        if kind in _UNICODE:
            is_kept = False
        elif kind == "Precompiled":
            letters = _kept_by_charsmap(step["precompiled_charsmap"], letters)
            spaces, is_kept = " ", False
        elif kind == "Replace" and pattern in ({"String": " "}, {"Regex": " {2,}"}):
            if step.get("content") not in (" ", MARK):
                return f"its normalizer replaces spaces by {step.get('content')!r}"
            is_marked |= step.get("content") == MARK
        elif kind != "Replace" or not {*ALNUM, *SPACES, MARK}.isdisjoint(
            pattern.get("String") or " "
        ):
            return f"its normalizer {kind} may change what stands at a cut"
    return _Normalized(letters, spaces, is_marked, is_kept)


def _kept_by_charsmap(charsmap: str, letters: str) -> str:
    """The letters and digits that SentencePiece's table of characters leaves beside spaces."""
    try:
        with library_call("the normalizer Precompiled fails"):
            apply = Precompiled(b64decode(charsmap)).normalize_str
            return "".join(each for each in letters if apply(f"{each} {each}") == f"{each} {each}")
    except TokenizerError:
        return ""


def _ends_of_words(step: Step, *, is_marked: bool) -> set[str] | str:
    """White space before which a step always ends a pre-token behind a letter or digit.

    Args:
        step: of a pre-tokenizer, canonical.
        is_marked: whether spaces are `MARK`s by now.

    Returns:
        The white space; or the reason why the step may look beyond a cut.
    """
    kind, spaces = step.get("type"), set(SPACES)
    if kind == "Split":
        return _ends_of_splits(step, is_marked=is_marked)
    if kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer"):
        return spaces - {" "} if is_marked else spaces
    if kind == "Metaspace" and step.get("replacement", MARK) == MARK:
        return set() if step.get("split") is False else {" "}
    if kind in ("ByteLevel", "Digits", "Punctuation"):
        return spaces if step.get("use_regex") else set()
    return f"its pre-tokenizer {kind} may look beyond a cut"


def _ends_of_splits(step: Step, *, is_marked: bool) -> set[str] | str:
    pattern, behavior = step.get("pattern") or {}, step.get("behavior")
    text = pattern.get("Regex") or pattern.get("String")
    if step.get("invert"):
        return f"its pre-tokenizer splits by what does not match {text!r}"
    if pattern == {"String": " "}:
        return set() if is_marked or behavior == "MergedWithPrevious" else {" "}
    if behavior == "Isolated" and text in NEWLINES:
        return {*NEWLINES[text]}
    if behavior == "Isolated" and text in (*patterns.WORDS.values(), patterns.DEEPSEEK_V3[-1]):
        return {*SPACES}
    if behavior == "Isolated" and text in (*patterns.DEEPSEEK_V3, *patterns.DEEPSEEK_CODER):
        return set()
    return f"its pre-tokenizer splits by {text!r}, of which no cut is known"


def _cuts_by_vocabulary(
    model: dict[str, Any], spaces: str, certain: str, blank: str
) -> tuple[str, str] | str:
    """`word_cuts` where words may go on behind white space, but no token does.

    Args:
        model: of a tokenizer.json.
        spaces: what the normalizer leaves, as it is or as a mark.
        certain: those before which words end anyway.
        blank: what a space is by then.
    """
    at_white_space = "its pre-tokenizer does not end words at white space"
    vocab: Any = model.get("vocab")
    if model.get("type", "BPE") != "BPE" or not isinstance(vocab, dict):
        return f"its model is not BPE, and {at_white_space}"
    for flag in ("ignore_merges", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(flag):
            return f"its model has {flag}, and {at_white_space}"
    beside: dict[str, set[str]] = {space: set() for space in SPACES}
    for token in cast("dict[str, Any]", vocab):
        for letter, space in _BESIDE.findall(token):
            beside[" " if space == MARK else space].add(letter)
    stands = {space for space in spaces if _stands(blank if space == " " else space, model)}
    chosen = [s for s in spaces if s in certain or (s in stands and len(beside[s]) <= _FEW)]
    given_up = set[str]().union(*(beside[space] for space in chosen if space not in certain))
    letters = "".join(each for each in ALNUM if each in vocab and each not in given_up)
    if not letters or not chosen:
        return "its vocabulary has tokens that reach over white space"
    return letters, "".join(chosen)


def _stands(character: str, model: dict[str, Any]) -> bool:
    """Whether a character gives some token, rather than none, so that others do not close up."""
    vocab = model["vocab"]
    fallback = [f"<0x{byte:02X}>" for byte in character.encode()]
    return (
        character in vocab
        or model.get("unk_token") in vocab
        or (bool(model.get("byte_fallback")) and all(byte in vocab for byte in fallback))
    )


def letters_before_tokens(letters: str, added: Sequence[dict[str, Any]]) -> str:
    """The letters and digits behind which no added token ends.

    Where the start of a text is a place of its own, so is what follows an added token, and no lead
    stands for that.
    """
    ends = "".join(str(token.get("content", ""))[-1:] for token in added)
    return "".join(each for each in letters if each not in ends.lower() + ends.upper())


def why_not_cut(
    cut: re.Pattern[bytes], normalizer: Any, added: Sequence[dict[str, Any]], *, any_place: bool
) -> str | None:
    """Why a cut may come within an added token, or between it and what it takes in.

    Args:
        cut: where texts are to be cut.
        normalizer: as declared.
        added: the added tokens, as declared.
        any_place: texts are cut elsewhere, too, than behind a letter or digit and before all of
            the white space there, so that a token which takes in white space may lie across.
    """
    normalize: Callable[[str], str] | None = None
    if normalizer and any(token.get("normalized") for token in added):
        try:
            normalize = _normalize_by(normalizer)
        except TokenizerError:
            return "its normalizer fails"
    for token in added:
        content = str(token.get("content", ""))
        looked_for = [content]
        if normalize and token.get("normalized"):
            try:
                looked_for.append(normalize(content))
            except TokenizerError:
                return f"its normalizer fails on its added token {content!r}"
        framed = [f"\n{each}\n".encode() for each in looked_for]
        inside = any(
            1 < found.start() < len(each) - 1 for each in framed for found in cut.finditer(each)
        )
        strips = token.get("rstrip") and content[-1:].isalnum()
        if any_place:
            strips = any(token.get(flag) for flag in ("lstrip", "rstrip", "single_word"))
        if inside or strips:
            return f"its added token {content!r} may reach across a cut"
    return None


def _normalize_by(normalizer: Any) -> Callable[[str], str]:
    """What a normalizer, as declared, makes of a text; where spaces become marks, marks as spaces.

    It raises TokenizerError where the library fails at it.
    """
    model = {"type": "BPE", "vocab": {}, "merges": []}
    alone = {"version": "1.0", "added_tokens": [], "normalizer": normalizer, "model": model}
    library = LibraryTokenizer(json.dumps(alone).encode(), "the normalizer")
    blank = MARK if MARK in library.normalize("a a") else " "
    return lambda text: library.normalize(text).replace(blank, " ")
