r"""tokenizer.json -> what its structure proves about its pre-tokens, about cuts, and about framing.

Nothing here goes by a tokenizer's name: a shortcut is taken only where the declared parts leave no
way for it to change an id.

The proof for cutting a text in two: no normalizer but NFC, which never joins ASCII characters with
what stands before them; a pre-tokenizer none of whose matches reaches across the cut or depends on
what lies beyond it; a model (BPE) that works within one pre-token; and no added token that could
lie across the cut or take in the white space around it.
"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

_NEWLINE_PATTERNS = ({"Regex": "[\r\n]"}, {"Regex": r"[\r\n]"}, {"String": "\n"})
_PIECEWISE = ("Split", "Digits", "Punctuation", "ByteLevel")
_FRAMING = ("ByteLevel", "BertProcessing", "RobertaProcessing")

DEEPSEEK_CJK = "[一-龥ࠀ-一가-\ud7ff]"
"""What deepseek-coder's pre-tokenizer has for ideographs: far more than these."""

AFTER_NEWLINES = re.compile(rb"(?<=\n)")
AFTER_LINES_AND_WORDS = re.compile(rb"(?<=[\r\n])|(?<=[0-9A-Za-z])(?=[(),;])")
BEFORE_WHITE_SPACE = re.compile(rb"(?<=[0-9A-Za-z])(?=[ \t\r\n])")


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
        rules: what it leaves together; None where that is not known.
    """

    what: str
    cut: re.Pattern[bytes]
    rules: Rules | None


_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip


def _alternatives(digits: str) -> list[dict[str, Any]]:
    """The steps of Llama 3 and Qwen 2, which differ in the digits of a pre-token."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+"
        r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return [_split(pattern), _BYTES]


_NUMERALS = {"type": "Digits", "individual_digits": True}
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_KNOWN: list[tuple[str, list[dict[str, Any]], re.Pattern[bytes], Rules | None]] = [
    (
        "deepseek-coder",
        [
            _split("[\r\n]"),
            _split(r"\s?\p{L}+"),
            _split(r"\s?\p{P}+"),
            _split(f"{DEEPSEEK_CJK}+"),
            _NUMERALS,
            _BYTES,
        ],
        AFTER_LINES_AND_WORDS,
        Rules(isolating=True),
    ),
    ("StarCoder", [_NUMERALS, _GPT2], BEFORE_WHITE_SPACE, Rules(isolating=False)),
    ("GPT-2", [_GPT2], BEFORE_WHITE_SPACE, None),
    ("Llama 3", _alternatives(r"\p{N}{1,3}"), BEFORE_WHITE_SPACE, None),
    ("Qwen", _alternatives(r"\p{N}"), BEFORE_WHITE_SPACE, None),
]


def _steps(part: Any, inner: str) -> list[dict[str, Any]]:
    """A declared part as its list of steps, nested sequences flattened."""
    if part is None:
        return []
    if not isinstance(part, dict):
        return [{}]  # the library takes `[[]]` too: a step of no known type
    part = cast("dict[str, Any]", part)
    if part.get("type") != "Sequence":
        return [part]
    return [step for each in part.get(inner, []) for step in _steps(each, inner)]


def find_pretokenizer(structure: dict[str, Any]) -> Pretokenizer | str:
    """What the structure proves about cutting a text; if nothing, the reason.

    Args:
        structure: a parsed tokenizer.json.
    """
    found = _known_pretokenizer(structure) or _newline_pretokenizer(structure)
    if isinstance(found, str):
        return found
    if _steps(structure.get("normalizer"), "normalizers") and not (
        normalizes_to_nfc_only(structure)
    ):
        return "it normalizes the text"
    if not framing_is_constant(structure):
        return "its post-processor may do more than frame the ids"
    if (structure.get("model") or {}).get("type") != "BPE":
        return "its model is not plain BPE"
    for token in structure.get("added_tokens") or []:
        content: str = token.get("content", "")
        framed = f"\n{content}\n".encode()
        inside = any(1 < cut.start() < len(framed) - 1 for cut in found.cut.finditer(framed))
        looks_around = any(token.get(flag) for flag in ("lstrip", "rstrip", "single_word"))
        if inside or looks_around:
            return f"its added token {content!r} may reach across a cut"
    return found


def _known_pretokenizer(structure: dict[str, Any]) -> Pretokenizer | None:
    declared = [
        {key: value for key, value in step.items() if key != "trim_offsets"}
        for step in _steps(structure.get("pre_tokenizer"), "pretokenizers")
    ]
    for step in declared:
        if step.get("pattern") == {"Regex": r"[\r\n]"}:
            step["pattern"] = {"Regex": "[\r\n]"}
        if step.get("type") == "ByteLevel":
            step.setdefault("use_regex", True)
    for name, steps, cut, rules in _KNOWN:
        if steps == declared:
            return Pretokenizer(what=f"{name}'s pre-tokenizer", cut=cut, rules=rules)
    return None


def _newline_pretokenizer(structure: dict[str, Any]) -> Pretokenizer | str:
    """Any pre-tokenizer that isolates newlines first, and then works within what that left."""
    first, *steps = _steps(structure.get("pre_tokenizer"), "pretokenizers") or [{}]
    behavior = first.get("type"), first.get("behavior"), bool(first.get("invert"))
    if behavior != ("Split", "Isolated", False) or first.get("pattern") not in _NEWLINE_PATTERNS:
        return "its pre-tokenizer is not known and does not isolate newlines first"
    for step in steps:
        if step.get("type") not in _PIECEWISE or step.get("add_prefix_space"):
            return f"its pre-tokenizer {step.get('type')} may look beyond one piece"
    return Pretokenizer(what="a step that isolates newlines", cut=AFTER_NEWLINES, rules=None)


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
    if not prefix or not isinstance(prefix, str) or not isinstance(merges, list):
        return None
    num_bytes = len(prefix.encode())
    for merge in cast("list[Any]", merges):
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
        for step in _steps(structure.get("post_processor"), "processors")
    )


def normalizes_to_nfc_only(structure: dict[str, Any]) -> bool:
    """Whether all that the normalizer does is Unicode's NFC."""
    steps = _steps(structure.get("normalizer"), "normalizers")
    return bool(steps) and all(step.get("type") == "NFC" for step in steps)
