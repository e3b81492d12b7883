"""Published splits -> a report: each described, and compared with those that it is held out from.

What a report can say without the text of the corpus, it says; what it cannot, it names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codedata.errors import CodedataError, TargetError
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.reporting import pictures
from codedata.reporting.duplicates import Duplicates, find_duplicates
from codedata.reporting.html import render
from codedata.reporting.pictures import Svg
from codedata.reporting.published import Published, open_published
from codedata.reporting.statistics import (
    TokenComparison,
    TokenCounts,
    compare_tokens,
    count_tokens,
    usual_divergences,
)
from codedata.reporting.token_figures import TokenFigures, describe_tokens, token_text
from codedata.sources.parquet.text import Window
from codedata.store.files import replace_atomically

_MOST_DIFFERING = 25


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitDescription(Published):
    """What a published split is made of.

    Attributes:
        tokens: counted.
        report: the figures in words.
        document_lengths: characters of each document that the window has a part of, shape
            (num_documents,); None where the text is gone.
    """

    tokens: TokenCounts
    report: TokenFigures
    document_lengths: NDArray[np.int64] | None

    @property
    def num_chars(self) -> int | None:
        """Characters of the chunks; None in a dataset that does not record them."""
        chars = [chunk.chars for chunk in self.tokens.chunks]
        return sum(c.num_chars for c in chars if c is not None) if all(chars) else None

    @property
    def chars_per_token(self) -> float | None:
        """Characters a token; what was dropped at the ends of chunks counts as tokenized."""
        return self.num_chars / self.tokens.num_tokens if self.num_chars else None

    @cached_property
    def pictures(self) -> dict[str, Svg]:
        """By title."""
        drawn = {"Token frequency": pictures.token_frequency([(self.name, self.tokens.counts)])}
        if self.document_lengths is not None:
            a_sample = round(self.dataset.seq_length * (self.chars_per_token or 0)) or None
            drawn["Document lengths"] = pictures.document_lengths(
                [(self.name, self.document_lengths)], a_sample
            )
        return drawn | {
            "Tokens per chunk": pictures.tokens_per_chunk(self.tokens.chunks),
            "Padding per chunk": pictures.padding_per_chunk(
                self.tokens.chunks, self.dataset.seq_length
            ),
        }


@dataclass(frozen=True, kw_only=True)
class Differing:
    """An id of which the one dataset has more.

    Attributes:
        token: its text in quotes.
        token_id: the id.
        reference_share: of the reference's tokens.
        other_share: of the other's.
        bits: what it contributes to the divergence.
    """

    token: str
    token_id: int
    reference_share: float
    other_share: float
    bits: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitComparison:
    """How a split compares with one that it is held out from, the reference.

    Attributes:
        reference: described.
        other: described.
        tokens: compared; None where the two were made with different tokenizers.
        differing: the ids that contribute most to their divergence, the first the most.
        duplicates: documents of the other that are in the reference; None where a text is gone.
        no_duplicates: why; empty where the texts are there.
    """

    reference: SplitDescription
    other: SplitDescription
    tokens: TokenComparison | None
    differing: Sequence[Differing]
    duplicates: Duplicates | None
    no_duplicates: str

    @cached_property
    def pictures(self) -> dict[str, Svg]:
        """By title."""
        drawn: dict[str, Svg] = {}
        reference, other = self.reference, self.other
        if self.tokens is not None:
            counts = [(each.name, each.tokens.counts) for each in (reference, other)]
            drawn["Token frequency"] = pictures.token_frequency(counts)
            drawn["Share of each token"] = pictures.token_shares(*counts)
            drawn["Ids that occur"] = pictures.vocabulary_overlap(
                reference.name, other.name, self.tokens
            )
        if reference.document_lengths is not None and other.document_lengths is not None:
            drawn["Document lengths"] = pictures.document_lengths(
                [
                    (reference.name, reference.document_lengths),
                    (other.name, other.document_lengths),
                ]
            )
        return drawn

    def markdown(self) -> str:
        """Figures and pictures as the UI shows them; no text of the corpus."""
        rows: list[tuple[str, str]] = []
        if (tokens := self.tokens) is not None:
            rows = [
                ("tokens never seen", f"{tokens.num_unseen:,} ({tokens.unseen_share:.4%})"),
                ("ids that both use, of all", f"{tokens.overlap:.1%}"),
                ("Jensen-Shannon divergence", f"{tokens.divergence:.4f} bits"),
            ]
            if tokens.usual:
                usual = f"{min(tokens.usual):.4f} to {max(tokens.usual):.4f} bits"
                rows.append((f"of pieces of {self.reference.name} from its rest", usual))
        if (found := self.duplicates) is not None:
            rows += [
                ("documents", f"{found.num_documents:,}"),
                ("exact duplicates", f"{found.num_exact:,}"),
                ("near duplicates", f"{found.num_near:,}"),
            ]
        lines = ["| | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows), ""]
        lines += [f"{pictures.as_markdown(*each)}\n" for each in self.pictures.items()]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """Splits and comparisons, and why some comparisons are missing."""

    splits: Sequence[SplitDescription]
    comparisons: Sequence[SplitComparison]
    notes: Sequence[str] = ()


def report_on(
    layout: Layout,
    names: Sequence[str],
    *,
    folders: Mapping[str, Path] | None = None,
    tokenizers: Sequence[str] = (),
) -> Report:
    """Describe splits and compare each with all that are named before it.

    Args:
        layout: the root.
        names: of the splits, and of `folders`.
        folders: datasets that lie elsewhere than their names say.
        tokenizers: folders where their tokenizers may lie.

    Raises:
        CodedataError: see `open_published`.
    """
    elsewhere = folders or {}
    splits = [
        _described(layout, name, tokenizers, folder=elsewhere.get(name))
        for name in dict.fromkeys(names)
    ]
    comparisons = [compare_splits(first, second) for first, second in combinations(splits, 2)]
    return Report(splits=splits, comparisons=comparisons)


def report_held_out(
    layout: Layout, name: str, held_out_from: Sequence[str], *, tokenizers: Sequence[str] = ()
) -> Report:
    """Describe a split and compare it with those that it is held out from.

    One of those that cannot be compared, because it was not made yet, say, is noted.

    Raises:
        CodedataError: the split itself cannot be described; see `open_published`.
    """
    split = _described(layout, name, tokenizers)
    comparisons: list[SplitComparison] = []
    notes: list[str] = []
    for reference_name in held_out_from:
        try:
            reference = _described(layout, reference_name, tokenizers)
        except CodedataError as error:
            why = str(error).replace(str(layout.root), f"${ROOT_VARIABLE}")
            notes.append(f"{name} is not compared with {reference_name}: {why}")
        else:
            comparisons.append(compare_splits(reference, split))
    return Report(splits=[split], comparisons=comparisons, notes=notes)


def write_report(path: Path, report: Report) -> int:
    """Write a report as one HTML file, whole or not at all.

    Returns:
        Its size in bytes.
    """
    page = render(report)
    replace_atomically(path, page)
    return len(page)


def require_writable(path: Path) -> None:
    """Refuse, before any work, a path that no report can be written to.

    Raises:
        TargetError: naming what is wrong.
    """
    if path.is_dir():
        raise TargetError(f"{path} is a folder; name the file that the report is to be")
    if not path.parent.is_dir():
        raise TargetError(
            f"{path} cannot be written: there is no folder {path.parent}; make it, or name another"
        )


def _described(
    layout: Layout, name: str, tokenizers: Sequence[str], *, folder: Path | None = None
) -> SplitDescription:
    """Open a split, count its tokens and measure its documents."""
    published = open_published(layout, name, folder=folder, tokenizers=tokenizers)
    dataset, settings, tokenizer = published.dataset, published.settings, published.tokenizer
    num_ids = max(tokenizer.vocab_size, settings.pad_id + 1)
    tokens = count_tokens(dataset, num_ids, settings.pad_id)
    return SplitDescription(
        **vars(published),
        tokens=tokens,
        report=describe_tokens(dataset, tokens, tokenizer),
        document_lengths=_document_lengths(published.windows),
    )


def compare_splits(reference: SplitDescription, other: SplitDescription) -> SplitComparison:
    """Compare a split with another one, the reference."""
    tokens, differing = None, ()
    if reference.tokenizer.files.fingerprint == other.tokenizer.files.fingerprint:
        first, second = reference.tokens.counts, other.tokens.counts
        num_ids = max(len(first), len(second))  # they differ where a pad token is no token
        first, second = (np.pad(each, (0, num_ids - len(each))) for each in (first, second))
        usual = usual_divergences(
            reference.dataset, first, int(second.sum()), reference.settings.pad_id
        )
        tokens = compare_tokens(first, second, usual)
        most = np.argsort(-tokens.terms, kind="stable")[:_MOST_DIFFERING].tolist()
        differing = [
            Differing(
                token=token_text(reference.tokenizer, token_id),
                token_id=token_id,
                reference_share=float(first[token_id] / first.sum()),
                other_share=float(second[token_id] / second.sum()),
                bits=float(tokens.terms[token_id]),
            )
            for token_id in most
            if tokens.terms[token_id] > 0
        ]
    no_windows = reference.no_windows or other.no_windows
    return SplitComparison(
        reference=reference,
        other=other,
        tokens=tokens,
        differing=differing,
        duplicates=None if no_windows else find_duplicates(reference.windows, other.windows),
        no_duplicates=no_windows,
    )


def _document_lengths(windows: Sequence[Window]) -> NDArray[np.int64] | None:
    if not windows:
        return None
    lengths = [np.empty(0, np.int64)]
    for window in windows:
        lengths += [batch.num_chars for batch in window.text.documents(window.chars)]
    return np.concatenate(lengths)
