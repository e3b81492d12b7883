"""A published split -> what it is made of, as figures, pictures and a sample; as markdown, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codedata.format.document_figures import document_figures
from codedata.format.documents import Form
from codedata.layout import Layout
from codedata.printable import percent, printable_lines
from codedata.reporting import pictures
from codedata.reporting.pictures import Svg, as_markdown
from codedata.reporting.published import Published, open_published
from codedata.reporting.statistics import TokenCounts, count_tokens, documents_a_sample

_SHOWN_TOKENS = 250
"""Of the first sample, enough to see that it is the text, and where its tokens end."""

_BORDER = "\N{LEFT ONE EIGHTH BLOCK}"
_MARK = "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}{}\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"

_FORMS = {Form.PSM: ", prefix first", Form.SPM: ", suffix first"}


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitDescription(Published):
    """What a published split is made of.

    Attributes:
        tokens: counted.
        document_lengths: characters of each document that the window has a part of, or with a
            recipe of each that begins in it, shape (num_documents,); None where the text is gone.
    """

    tokens: TokenCounts
    document_lengths: NDArray[np.int64] | None

    @property
    def vocab_used(self) -> int:
        """Tokens of the vocabulary that occur, in more than padding."""
        return int(np.count_nonzero(self.tokens.counts))

    @property
    def num_chars(self) -> int | None:
        """Characters of the chunks; None in a dataset that does not record them."""
        chars = [chunk.chars for chunk in self.tokens.chunks]
        return sum(c.num_chars for c in chars if c is not None) if all(chars) else None

    @property
    def chars_per_token(self) -> float | None:
        """Characters a token; what was dropped at the ends of chunks counts as tokenized."""
        return self.num_chars / self.tokens.num_tokens if self.num_chars else None

    @property
    def roles(self) -> dict[int, str]:
        """What the tokens are for that a recipe adds to documents, by id."""
        if (recipe := self.recipe) is None:
            return {}
        roles = {recipe.eos: "ends documents"}
        if recipe.bos is not None:
            both = recipe.bos == recipe.eos
            roles[recipe.bos] = "begins and ends documents" if both else "begins documents"
        if (fim := recipe.fim) is not None:
            roles |= {fim.prefix: "before a prefix", fim.suffix: "before a suffix"}
            roles[fim.middle] = "before a middle"
        return roles

    @cached_property
    def document_figures(self) -> list[tuple[str, str]]:
        """What became of documents, as names and figures; none in the reference mode."""
        rows = [] if self.documents is None else document_figures(self.documents)
        if self.dataset.spans:
            number = self.documents_a_sample
            rows.append(("documents a sample", f"{number.mean():.2f}, at most {number.max():,}"))
        for token, role in self.roles.items():
            count = int(self.tokens.counts[token])
            rows.append(
                (f"token {token}, {role}", f"{count:,} ({percent(count / self.tokens.num_tokens)})")
            )
        return rows

    @cached_property
    def documents_a_sample(self) -> NDArray[np.int64]:
        """Of how many documents each sample has a part, shape (num_samples,)."""
        return documents_a_sample(self.dataset)

    @cached_property
    def sample(self) -> list[tuple[str, list[str]]]:
        """The texts of the leading tokens of the first sample.

        Of a dataset with documents by span, each with what says which document begins or goes on
        there; of another one all together.
        """
        ids, stop, parts = self.dataset.shards[0][0][:_SHOWN_TOKENS].tolist(), 0, []
        for spans in self.dataset.spans[:1]:
            for _, start, stop, number, first, form in spans[spans[:, 0] == 0].tolist():
                begun = f" from its token {first:,}" if first else ""
                mark = f"document {number:,}{begun}{_FORMS.get(form, '')}"
                parts.append((mark, ids[start:stop]))
        parts.append(("padding" if self.dataset.spans else "", ids[stop:]))
        decode = self.tokenizer.tokenizer.decode_each
        return [(mark, decode(some)) for mark, some in parts if some]

    @cached_property
    def pictures(self) -> dict[str, Svg]:
        """By title."""
        drawn = {"Token frequency": pictures.token_frequency([(self.name, self.tokens.counts)])}
        if self.document_lengths is not None:
            a_sample = round(self.dataset.seq_length * (self.chars_per_token or 0)) or None
            drawn["Document lengths"] = pictures.document_lengths(
                [(self.name, self.document_lengths)], a_sample
            )
        if self.dataset.spans:
            drawn["Documents a sample"] = pictures.documents_a_sample(self.documents_a_sample)
        num_tokens = [chunk.num_tokens for chunk in self.tokens.chunks]
        return drawn | {"Tokens per chunk": pictures.tokens_per_chunk(num_tokens)}

    def markdown(self) -> str:
        """Figures, pictures and sample as the UI shows them."""
        padding = self.tokens.num_padding
        rows = [
            ("samples", f"{self.dataset.num_samples:,} of {self.dataset.seq_length:,} tokens"),
            ("tokens", f"{self.dataset.num_tokens:,}"),
            ("of them padding", f"{padding:,} ({padding / self.dataset.num_tokens:.2%})"),
            ("vocabulary used", f"{self.vocab_used:,} of {self.tokenizer.vocab_size:,}"),
        ]
        rows += [
            (f"tokens of {corpus}", f"{count * self.dataset.seq_length:,} in {count:,} samples")
            for corpus, count in self.samples_by_corpus.items()
        ]
        if self.document_lengths is not None and self.documents is None:
            rows.append(("documents, whole or in part", f"{len(self.document_lengths):,}"))
        rows += self.document_figures
        sample = "".join(
            (_MARK.format(mark) if mark else "") + _BORDER.join(texts)
            for mark, texts in self.sample
        )
        return "\n\n".join(
            [
                table(rows),
                *(as_markdown(svg, title) for title, svg in self.pictures.items()),
                f"The first sample, its first tokens, a {_BORDER} between them:",
                f"~~~c\n{printable_lines(sample.replace('~~~', ''))}\n~~~",
            ]
        )


def describe_split(
    layout: Layout, name: str, tokenizers: Sequence[str], *, folder: Path | None = None
) -> SplitDescription:
    """Open a split, count its tokens and measure its documents; see `open_published`."""
    published = open_published(layout, name, folder=folder, tokenizers=tokenizers)
    pad_id = published.settings.pad_id
    num_ids = max(published.tokenizer.vocab_size, pad_id + 1)
    lengths = [
        batch.num_chars
        for window in published.windows
        for batch in window.text.documents(window.chars)
    ]
    return SplitDescription(
        **vars(published),
        tokens=count_tokens(published.dataset, num_ids, pad_id),
        document_lengths=np.concatenate([np.empty(0, np.int64), *lengths])
        if published.windows
        else None,
    )


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Names and figures as a table of markdown."""
    return "\n".join(["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows)])
