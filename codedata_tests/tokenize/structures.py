"""Small tokenizers of the structures that are known, one that is not."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

SAMPLE = "\n".join(scenario.c_documents(3, seed=7))

UNMERGED = ("Ġ0x", "zqzq", "Ġaverylongidentifier")


def loaded_from(tokenizer: Tokenizer | dict[str, Any], folder: Path) -> LoadedTokenizer:
    if isinstance(tokenizer, Tokenizer):
        text = tokenizer.to_str()
    else:
        text = json.dumps(tokenizer, default=list)  # merges that were not parsed
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
