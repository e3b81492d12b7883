"""A dataset's counts and its tokenizer -> tokens, padding, vocabulary, samples, as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codedata.printable import printable_lines
from codedata.reporting.pictures import Svg, as_markdown
from codedata.reporting.statistics import TokenCounts, count_tokens
from codedata.store.dataset_folder import Dataset
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles

_MOST_FREQUENT = 25

_SHOWN_SAMPLES, _SHOWN_TOKENS = 2, 200
_BORDER = "\N{LEFT ONE EIGHTH BLOCK}"
_MOST_PARTS = 4
"""Bytes of a character, and so tokens that it may be spread over."""


@dataclass(frozen=True, kw_only=True)
class TokenFigures:
    """Figures of a dataset.

    Attributes:
        num_tokens: all tokens, padding included.
        num_padding: tokens that fill up the last samples of chunks: the run of pad tokens that a
            sample ends with.
        vocab_size: tokens of the vocabulary.
        vocab_used: how many of them occur, in more than padding.
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

    def markdown(self, pictures: Mapping[str, Svg] | None = None) -> str:
        """The report as the UI shows it, pictures by title between figures and sample."""
        share = self.num_padding / self.num_tokens
        lines = [
            "| | |",
            "|---|---:|",
            f"| tokens | {self.num_tokens:,} |",
            f"| of them padding | {self.num_padding:,} ({share:.2%}) |",
            f"| vocabulary used | {self.vocab_used:,} of {self.vocab_size:,} |",
            *(f"\n{as_markdown(title, svg)}" for title, svg in (pictures or {}).items()),
        ]
        for index, tokens in enumerate(self.tokens_of_samples):
            lines += [
                "",
                f"Sample {index}, its first tokens, a {_BORDER} between them:",
                "",
                "~~~c",
                printable_lines(_BORDER.join(tokens).replace("~~~", "")),
                "~~~",
            ]
        return "\n".join(lines)


def token_figures(dataset: Dataset, tokenizer: TokenizerFiles, pad_token: int) -> TokenFigures:
    """Count a dataset's tokens and describe them."""
    loaded = load_tokenizer(tokenizer)
    num_ids = max(loaded.vocab_size, pad_token + 1)
    return describe_tokens(dataset, count_tokens(dataset, num_ids, pad_token), loaded)


def describe_tokens(dataset: Dataset, tokens: TokenCounts, loaded: LoadedTokenizer) -> TokenFigures:
    """The figures of a dataset whose tokens were counted."""
    counts = tokens.counts
    order = np.argsort(-counts, kind="stable")[:_MOST_FREQUENT]
    return TokenFigures(
        num_tokens=dataset.num_tokens,
        num_padding=tokens.num_padding,
        vocab_size=loaded.vocab_size,
        vocab_used=int(np.count_nonzero(counts)),
        most_frequent=[
            (token_text(loaded, int(i)), int(i), int(counts[i])) for i in order if counts[i]
        ],
        sample=loaded.tokenizer.decode(dataset.shards[0][0].tolist(), skip_special_tokens=False),
        tokens_of_samples=[
            _token_texts(loaded, ids[:_SHOWN_TOKENS].tolist())
            for ids in dataset.shards[0][:_SHOWN_SAMPLES]
        ],
    )


def token_text(loaded: LoadedTokenizer, token_id: int) -> str:
    """A token's text in quotes, what cannot be printed escaped."""
    return repr(loaded.tokenizer.decode([token_id], skip_special_tokens=False))


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
