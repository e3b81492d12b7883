r"""Pre-tokenizers that are known, as a tokenizer.json declares them: literals, no logic.

A cut between a letter or digit and white space is proven for all of them: no match holds white
space behind a letter or digit, none looks back, and a match ends or begins there whatever stands
further left or right.
"""

from typing import Any

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
GPT_2 = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


def split(pattern: str) -> dict[str, Any]:
    """The step that isolates each match of a regular expression."""
    return {
        "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip


_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_OPEN = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
_BLANKS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_BLANKS_BY_LINE = r"|\s*[\r\n]|\s+(?!\S)|\s+"


def _by_case(suffix: str, digits: str) -> str:
    lead = r"[^\r\n\p{L}\p{N}]?"
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    words = f"{lead}{upper}*{lower}+{suffix}|{lead}{upper}+{lower}*{suffix}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_BLANKS}"


WORDS: dict[str, str] = {
    "GPT-2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "Llama 3": rf"{_OPEN}\p{{N}}{{1,3}}{_OTHERS}{_BLANKS}",
    "Qwen 2": rf"{_OPEN}\p{{N}}{_OTHERS}{_BLANKS}",
    "Qwen 3.5": (
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
        rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*{_BLANKS}"
    ),
    "cl100k": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        rf"|\s++${_BLANKS_BY_LINE}"
    ),
    "cl100k, older": rf"{_OPEN}\p{{N}}{{1,3}}{_OTHERS}{_BLANKS_BY_LINE}",
    "o200k": _by_case(f"{_CONTRACTIONS}?", r"\p{N}{1,3}"),
    "Nemotron": _by_case("", r"\p{N}"),
}
"""Patterns that leave no character out."""

DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    (
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
        "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
        "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
    ),
)
DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]"
"""What deepseek-coder has for ideographs: far more than these."""
DEEPSEEK_CODER = (
    "[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    f"{DEEPSEEK_CJK}+",
)
