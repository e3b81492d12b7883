"""Texts -> a small byte-level BPE tokenizer of deepseek-coder's structure, and its folder."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from codedata.store.files import replace_atomically
from codedata.tokenize.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_JSON
from codedata.tokenize.transformers_child import MODEL_CONFIG

BOS_TOKEN, PAD_TOKEN = "<|begin|>", "<|pad|>"
BOS_ID, PAD_ID = 0, 1

_ISOLATED = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+")
"""The pre-tokenization of deepseek-coder's tokenizer.json, step by step."""


def train_tokenizer(
    texts: Iterator[str], vocab_size: int, more_tokens: Sequence[str] = ()
) -> Tokenizer:
    """Train a byte-level BPE; the same texts give the same tokenizer.

    Args:
        texts: what to learn merges from.
        vocab_size: tokens, the 256 bytes and the two special ones included.
        more_tokens: special ones besides; their ids follow those, which are the same without them.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in _ISOLATED),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS_TOKEN, PAD_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.token_to_id(BOS_TOKEN) == BOS_ID
    assert tokenizer.token_to_id(PAD_TOKEN) == PAD_ID
    tokenizer.add_special_tokens([*more_tokens])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer folder whose chunks start with BOS, with the type of its models.

    The type is in config.json, which transformers goes by: the examples train such models on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = {"model_type": "llama"}
    replace_atomically(folder / MODEL_CONFIG, json.dumps(model, indent=2).encode())
    config = {"add_bos_token": True, "bos_token": BOS_TOKEN, "pad_token": PAD_TOKEN}
    replace_atomically(folder / TOKENIZER_CONFIG, json.dumps(config, indent=2).encode())
    replace_atomically(folder / TOKENIZER_JSON, tokenizer.to_str(pretty=True).encode())
