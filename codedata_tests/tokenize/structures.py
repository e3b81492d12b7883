"""Small tokenizers of the structures that are known, one that is not, and texts hard to cut."""

import json
import random
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

SAMPLE = "\n".join(scenario.c_documents(3, seed=7))

UNMERGED = ("Ġ0x", "zqzq", "Ġaverylongidentifier")


def loaded_from(tokenizer: Tokenizer | dict[str, Any], folder: Path) -> LoadedTokenizer:
    text = tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else json.dumps(tokenizer)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return load_tokenizer(find_tokenizer(str(folder)))


def metaspace() -> Tokenizer:
    """SentencePiece's structure, as Llama 2 has it: one long pre-token, spaces replaced."""
    tokenizer = scenario.train_tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return tokenizer


def unknown() -> Tokenizer:
    """A pattern of which nothing is known."""
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{L}+ ?|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def qwen_like() -> Tokenizer:
    tokenizer = scenario.train_tokenizer(scenario.llama3_like(r"\p{N}"))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def llama3_like() -> dict[str, Any]:
    """Llama 3 takes a pre-token that is in the vocabulary whole, whatever the merges say."""
    structure = json.loads(scenario.train_tokenizer(scenario.llama3_like()).to_str())
    structure["model"]["ignore_merges"] = True
    vocab = structure["model"]["vocab"]
    vocab |= {word: len(vocab) + 10 + place for place, word in enumerate(UNMERGED)}
    return structure


STRUCTURES: dict[str, Any] = {
    "deepseek": lambda: scenario.train_tokenizer(scenario.deepseek_like()),
    "starcoder": lambda: scenario.train_tokenizer(scenario.starcoder_like()),
    "gpt2": lambda: scenario.train_tokenizer(scenario.gpt2_like()),
    "llama3": llama3_like,
    "qwen": qwen_like,
    "metaspace": metaspace,
    "unknown": unknown,
}
FORCED = {
    "deepseek": ["pretokens", "blocks"],
    "starcoder": ["pretokens", "blocks"],
    "gpt2": ["gigatoken", "blocks"],
    "llama3": ["gigatoken", "blocks"],
    "qwen": ["blocks"],
    "metaspace": ["blocks"],
    "unknown": [],
}
"""The engines that are exact for each, but for the library itself; the first is chosen."""
FAST = [name for name in FORCED if name not in ("metaspace", "unknown")]

PIECES = [
    *("'s", "'S", "'ll", "'Re", "don't", "we'VE", "it's", "'", "''", "'l", "'r", "0", "12", "123"),
    *("12345", "0x", "zqzq", "int", "x", "_a1", "->", "++", "==", "/*", "*/"),
    *(" ", "  ", "    ", "\t", "\t\t", "\n", "\r\n", "\n\n\n", " \n ", "\n  \n", "\r", "\v", "\f"),
    *("\x00", "\x1c", "\x1f", "\x7f", " 9", " 0x", " foo", "= ", "#define ", "();", "{\n", "}\n\n"),
    *"éßKİǅ一가üõ中🙂٣१½²Ⅷ—“€\u017f\uff41\U0001d4b3\U0010ffff",
    *"\u00a0\u2003\u3000\u2028\x85\u200b\ufeff",
    *(" é", "e\u0301", "=\u0338", "3\u0301", "s\u0301", "'\u017f", "中文", "一龥", "ࠀ", "한국어"),
    *(scenario.EOT, scenario.BOS, scenario.PAD, scenario.EOT[:4], scenario.EOT[1:]),
]
"""Where pre-tokens begin and end, and whatever may be taken for it."""


def generated_text(random_: random.Random) -> str:
    """A text of one of several kinds, some characters to some thousands long."""

    def pieces(most: int) -> str:
        return "".join(random_.choice(PIECES) for _ in range(random_.randrange(1, most)))

    kind = random_.randrange(7)
    if kind <= 1:
        return pieces(60)
    if kind == 2:
        return "".join(chr(random_.randrange(128)) for _ in range(random_.randrange(1, 200)))
    if kind == 3:
        planes = [random_.choice([(0, 0xD800), (0xE000, 0x110000)]) for _ in range(60)]
        return "".join(chr(random_.randrange(*plane)) for plane in planes)
    if kind == 4:
        return "".join(random_.choice("ab1 \t\n(.='é\u00a0中") for _ in range(100))
    if kind == 5:
        repeats = [random_.choice([1, 1, 2, 5, 130]) for _ in range(20)]
        return "".join(random_.choice(PIECES) * times for times in repeats)
    documents = scenario.c_documents(1, random_.randrange(1000))
    return pieces(3) + "\n".join(documents)[: random_.randrange(3000)] + pieces(3)
