"""A dataset and its tokenizer -> what it is made of: tokens, padding, vocabulary, one sample."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from codedata.core.packing import IdArray
from codedata.io.dataset_folder import Dataset
from codedata.parallel import available_cores
from codedata.tokenization.engine import vocabulary_size
from codedata.tokenization.loading import LoadedTokenizer, TokenizerFiles, load_tokenizer

_MOST_FREQUENT = 25

_SHOWN_SAMPLES, _SHOWN_TOKENS = 2, 200
_BORDER = "\N{LEFT ONE EIGHTH BLOCK}"
_MOST_PARTS = 4
"""Bytes of a character, and so tokens that it may be spread over."""


@dataclass(frozen=True, kw_only=True)
class TokenReport:
    """Figures of a dataset.

    Attributes:
        num_tokens: all tokens, padding included.
        num_padding: tokens that fill up the last samples of chunks: the run of pad tokens that a
            sample ends with.
        vocab_size: tokens of the vocabulary.
        vocab_used: how many of them occur.
        most_frequent: token, id and count, most frequent first, padding left out.
        sample: the text of the first sample.
        tokens_of_samples: the texts of the leading tokens of the first samples.
    """

    num_tokens: int
    num_padding: int
    vocab_size: int
    vocab_used: int
    most_frequent: Sequence[tuple[str, int, int]]
    sample: str
    tokens_of_samples: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The report as the UI shows it."""
        share = self.num_padding / self.num_tokens
        lines = [
            "| | |",
            "|---|---:|",
            f"| tokens | {self.num_tokens:,} |",
            f"| of them padding | {self.num_padding:,} ({share:.2%}) |",
            f"| vocabulary used | {self.vocab_used:,} of {self.vocab_size:,} |",
        ]
        for index, tokens in enumerate(self.tokens_of_samples):
            lines += [
                "",
                f"Sample {index}, its first tokens, a {_BORDER} between them:",
                "",
                "~~~c",
                _BORDER.join(tokens).replace("~~~", ""),
                "~~~",
            ]
        return "\n".join(lines)


def token_report(dataset: Dataset, tokenizer: TokenizerFiles, pad_token: int) -> TokenReport:
    """Count a dataset's tokens, the shards side by side."""
    loaded = load_tokenizer(tokenizer)
    vocab_size = vocabulary_size(loaded)
    num_counts = max(vocab_size, pad_token + 1)
    counts = np.zeros(num_counts, np.int64)
    num_padding = 0

    def count(ids: IdArray) -> tuple[IdArray, int]:
        return np.bincount(ids.reshape(-1), minlength=num_counts), _count_padding(ids, pad_token)

    with ThreadPoolExecutor(available_cores()) as threads:
        for shard_counts, shard_padding in threads.map(count, dataset.shards):
            counts += shard_counts
            num_padding += shard_padding
    used = int(np.count_nonzero(counts))
    counts[pad_token] -= num_padding
    order = np.argsort(-counts, kind="stable")[:_MOST_FREQUENT]
    decode = loaded.tokenizer.decode
    return TokenReport(
        num_tokens=dataset.num_tokens,
        num_padding=num_padding,
        vocab_size=vocab_size,
        vocab_used=used,
        most_frequent=[
            (repr(decode([int(i)], skip_special_tokens=False)), int(i), int(counts[i]))
            for i in order
            if counts[i]
        ],
        sample=decode(dataset.shards[0][0].tolist(), skip_special_tokens=False),
        tokens_of_samples=[
            _token_texts(loaded, ids[:_SHOWN_TOKENS].tolist())
            for ids in dataset.shards[0][:_SHOWN_SAMPLES]
        ],
    )


def _token_texts(loaded: LoadedTokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token; those that are parts of one character stand together."""
    texts: list[str] = []
    held: list[int] = []
    for id_ in ids:
        held.append(id_)
        text = loaded.tokenizer.decode(held, skip_special_tokens=False)
        if "\ufffd" not in text or len(held) == _MOST_PARTS:
            texts.append(text)
            held = []
    return texts


def _count_padding(ids: IdArray, pad_token: int) -> int:
    """Pad tokens that samples end with."""
    is_pad = ids[ids[:, -1] == pad_token, ::-1] == pad_token
    lengths = np.where(is_pad.all(axis=1), ids.shape[1], np.argmin(is_pad, axis=1))
    return int(lengths.sum())
