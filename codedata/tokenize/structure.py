r"""tokenizer.json -> what its structure proves about its pre-tokens, about cuts, and about framing.

Nothing here goes by a tokenizer's name: a shortcut is taken only where the declared parts leave no
way for it to change an id.

Texts are cut between words (`codedata.tokenize.cuts`), or after newlines, where those are isolated
first and what is left is worked on piece by piece. Where something happens at the start of every
text (a space is put before it, it is stripped), what follows a cut is tokenized behind a *lead*: a
letter or digit, whose own ids are dropped.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from codedata.tokenize import patterns
from codedata.tokenize.cuts import (
    ALNUM,
    MARK,
    NEWLINES,
    SPACES,
    between,
    letters_before_tokens,
    why_not_cut,
    word_cuts,
)
from codedata.tokenize.patterns import split
from codedata.tokenize.tokenizer_json import Merges

_PIECEWISE = ("Split", "Digits", "Punctuation", "ByteLevel")
_FRAMING = ("ByteLevel", "BertProcessing", "RobertaProcessing")
AFTER_NEWLINES = re.compile(rb"(?<=\n)")
AFTER_LINES_AND_WORDS = re.compile(rb"(?<=[\r\n])|(?<=[0-9A-Za-z])(?=[(),;])")


def _byte_characters() -> dict[int, str]:
    """The character that stands for each byte in the vocabulary of a byte-level tokenizer.

    Source: `bytes_to_unicode` in https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(0x100 + place) for place, byte in enumerate(others)
    }


BYTE_CHARACTERS = _byte_characters()


class Rules(NamedTuple):
    r"""What a known pre-tokenizer does with a text, for the compiled engine.

    Attributes:
        isolating: deepseek-coder's family: [\r\n], then \s?\p{L}+, then \s?\p{P}+, then what it has
            for ideographs, then single numerals are isolated, and what is left between them stays.
            Otherwise StarCoder's: single numerals are isolated, then come GPT-2's alternatives.
    """

    isolating: bool


@dataclass(frozen=True, kw_only=True)
class Pretokenizer:
    """A pre-tokenizer that is known well enough to cut texts.

    Attributes:
        what: what it is, for the log.
        cut: matches, with no characters, where a text may be cut.
        lead: stands before a text that follows a cut when it is tokenized alone, and its ids are
            dropped; empty where the start of a text is like any other place.
        rules: what it leaves together, for the kernel; None where that has other pre-tokenizers.
        peer: whether gigatoken implements it.
    """

    what: str
    cut: re.Pattern[bytes]
    lead: str = ""
    rules: Rules | None = None
    peer: bool = False


class _Known(NamedTuple):
    what: str
    steps: list[dict[str, Any]]
    peer: bool = True
    cut: re.Pattern[bytes] | None = None
    rules: Rules | None = None


_KNOWN = [
    _Known("GPT-2's pre-tokenizer", [patterns.GPT_2]),
    _Known("RoBERTa's pre-tokenizer", [patterns.GPT_2 | {"add_prefix_space": True}]),
    *(
        # gigatoken takes both of cl100k for tiktoken's. To the library, though, its `{1,3}+` is no
        # possessive, but three digits or fewer once or more; and the older one lacks `\s++$`.
        _Known(f"{name}'s pre-tokenizer", [split(words), patterns.BYTES], peer="cl100k" not in name)
        for name, words in patterns.WORDS.items()
    ),
    _Known("DeepSeek V3's pre-tokenizer", [*map(split, patterns.DEEPSEEK_V3), patterns.BYTES]),
    _Known(
        "deepseek-coder's pre-tokenizer",
        [*map(split, patterns.DEEPSEEK_CODER), patterns.DIGITS, patterns.BYTES],
        peer=False,
        cut=AFTER_LINES_AND_WORDS,
        rules=Rules(isolating=True),
    ),
    _Known(
        "StarCoder's pre-tokenizer",
        [patterns.DIGITS, patterns.GPT_2],
        peer=False,
        rules=Rules(isolating=False),
    ),
]


def find_pretokenizer(structure: dict[str, Any]) -> Pretokenizer | str:
    """What the structure proves about cutting a text; if nothing, the reason.

    Args:
        structure: a parsed tokenizer.json.
    """
    if not framing_is_constant(structure):
        return "its post-processor may do more than frame the ids"
    normalizer = steps_of(structure.get("normalizer"), "normalizers")
    steps = [canonical(s) for s in steps_of(structure.get("pre_tokenizer"), "pretokenizers")]
    is_plain = not normalizer or normalizes_to_nfc_only(structure)
    added: list[dict[str, Any]] = structure.get("added_tokens") or []
    known = next((each for each in _KNOWN if is_plain and each.steps == steps), None)
    words = word_cuts(structure.get("model") or {}, normalizer, steps)
    if known is None and isinstance(words, str):
        if not (is_plain and _isolates_newlines(steps)):
            return words
        known = _Known("a step that isolates newlines", steps, peer=False, cut=AFTER_NEWLINES)
    letters, spaces = (ALNUM, SPACES) if isinstance(words, str) else words
    has_lead = treats_start(normalizer, steps, added)
    if has_lead:
        letters = letters_before_tokens(letters, added)
        if not letters:
            return "its added tokens end in every letter and digit"
    cut = (known and known.cut) or between(letters, spaces)
    declared = structure.get("normalizer")
    if why := why_not_cut(cut, declared, added, any_place=bool(known and known.cut)):
        return why
    is_sentencepiece = known is None and _is_sentencepiece(structure, normalizer, steps)
    words_end = "a pre-tokenizer whose words end at white space"
    return Pretokenizer(
        what=known.what if known else "SentencePiece's BPE" if is_sentencepiece else words_end,
        cut=cut,
        lead=letters[-1] if has_lead else "",
        rules=known.rules if known else None,
        peer=known.peer if known else is_sentencepiece,
    )


def steps_of(part: Any, inner: str) -> list[dict[str, Any]]:
    """A declared part as its list of steps, nested sequences flattened."""
    if part is None:
        return []
    if not isinstance(part, dict):
        return [{}]  # the library takes `[[]]` too: a step of no known type
    part = cast("dict[str, Any]", part)
    if part.get("type") != "Sequence":
        return [part]
    return [step for each in part.get(inner, []) for step in steps_of(each, inner)]


def canonical(step: dict[str, Any]) -> dict[str, Any]:
    """A step of a pre-tokenizer, in the one spelling of what it does to ids."""
    step = {key: value for key, value in step.items() if key != "trim_offsets"}
    if step.get("type") == "ByteLevel":
        step.setdefault("use_regex", True)
    if step.get("type") == "Split":
        pattern = step.get("pattern") or {}
        if pattern == {"Regex": r"[\r\n]"}:
            step["pattern"] = {"Regex": "[\r\n]"}
        kept = step.get("behavior") == "Removed" and step.get("invert") is True
        if kept and pattern.get("Regex") in patterns.WORDS.values():
            step |= {"behavior": "Isolated", "invert": False}  # nothing lies between its matches
    return step


def treats_start(
    normalizer: list[dict[str, Any]], steps: list[dict[str, Any]], added: list[dict[str, Any]]
) -> bool:
    """Whether the start of a text is a place of its own."""
    return (
        any(step.get("type") in ("Prepend", "Strip") for step in normalizer)
        or any(
            (step.get("type") == "ByteLevel" and step.get("add_prefix_space") is not False)
            or (step.get("type") == "Metaspace" and step.get("prepend_scheme") != "never")
            for step in steps
        )
        or any(token.get("single_word") for token in added)
    )


def _isolates_newlines(steps: list[dict[str, Any]]) -> bool:
    """Whether newlines are isolated first, and then each of what that left is worked on alone."""
    first, *others = steps or [{}]
    behavior = first.get("type"), first.get("behavior"), bool(first.get("invert"))
    pattern = first.get("pattern") or {}
    text = pattern.get("Regex") or pattern.get("String")
    if behavior != ("Split", "Isolated", False) or text not in NEWLINES:
        return False
    return all(
        step.get("type") in _PIECEWISE and not step.get("add_prefix_space") for step in others
    )


def _is_sentencepiece(
    structure: dict[str, Any], normalizer: list[dict[str, Any]], steps: list[dict[str, Any]]
) -> bool:
    """Whether it is BPE over characters with byte fallback, in one of the forms gigatoken has."""
    model: dict[str, Any] = structure.get("model") or {}
    if model.get("type", "BPE") != "BPE" or not model.get("byte_fallback"):
        return False
    vocab: dict[str, int] = model["vocab"]
    lacks = any(f"<0x{byte:02X}>" not in vocab and chr(byte) not in vocab for byte in range(128))
    if lacks or any(f"<0x{byte:02X}>" not in vocab for byte in range(128, 256)):
        return False
    prepend = {"type": "Prepend", "prepend": MARK}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    if normalizer in ([prepend, replace], [replace]):
        merged = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
        return not steps or steps == [{**merged, "invert": False}]
    is_metaspace = [step.get("type") for step in steps] == ["Metaspace"]
    return is_metaspace and not normalizer


def merge_that_aborts(structure: dict[str, Any]) -> str | None:
    """The right part of a merge that the library cannot load without ending the process; or None.

    It cuts as many bytes off the part as the model's `continuing_subword_prefix` has, and where it
    cannot, panics while it clears away, which aborts.
    """
    model = structure.get("model")
    if not isinstance(model, dict):
        return None
    model = cast("dict[str, Any]", model)
    prefix, merges = model.get("continuing_subword_prefix"), model.get("merges")
    if not prefix or not isinstance(prefix, str) or not isinstance(merges, list | Merges):
        return None
    num_bytes = len(prefix.encode())
    for merge in cast("Sequence[Any]", merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or not parts or not isinstance(parts[-1], str):
            return None  # which the library refuses
        right = parts[-1].encode(errors="surrogatepass")
        if len(right) < num_bytes or (right[num_bytes:] and right[num_bytes] & 0xC0 == 0x80):
            return parts[-1]
    return None


def framing_is_constant(structure: dict[str, Any]) -> bool:
    """Whether the post-processor only puts the same ids before and after every text."""
    return all(
        sum("Sequence" in piece for piece in step.get("single", [])) == 1
        if step.get("type") == "TemplateProcessing"
        else step.get("type") in _FRAMING
        for step in steps_of(structure.get("post_processor"), "processors")
    )


def normalizes_to_nfc_only(structure: dict[str, Any]) -> bool:
    """Whether all that the normalizer does is Unicode's NFC."""
    steps = steps_of(structure.get("normalizer"), "normalizers")
    return bool(steps) and all(step.get("type") == "NFC" for step in steps)
