"""Published splits -> a report: each described, and compared with those that it is held out from.

What a report can say without the text of the corpus, it says; what it cannot, it names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from codedata.errors import CodedataError, TargetError
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.printable import percent
from codedata.reporting import pictures
from codedata.reporting.description import SplitDescription, describe_split, table
from codedata.reporting.duplicates import Duplicates, find_duplicates
from codedata.reporting.html import render
from codedata.reporting.pictures import Svg
from codedata.reporting.statistics import TokenComparison, compare_tokens, usual_divergences
from codedata.store.files import replace_atomically

_MOST_DIFFERING = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitComparison:
    """How a split compares with one that it is held out from, the reference.

    Attributes:
        reference: described.
        other: described.
        tokens: compared; None where the two were made with different tokenizers.
        differing: text in quotes, id, the shares of the reference's and the other's tokens, and
            what it is for where a recipe adds it to documents, of the ids that contribute most to
            their divergence, the first the most.
        duplicates: documents of the other that are in the reference; None where a text is gone.
    """

    reference: SplitDescription
    other: SplitDescription
    tokens: TokenComparison | None
    differing: Sequence[tuple[str, int, float, float, str]]
    duplicates: Duplicates | None

    @property
    def verdict(self) -> list[tuple[str, str]]:
        """What the comparison comes to, as names and figures."""
        rows: list[tuple[str, str]] = []
        name = self.reference.name
        if (tokens := self.tokens) is not None:
            share = percent(tokens.num_unseen / tokens.num_tokens)
            unseen = f"{tokens.num_unseen:,} of {tokens.num_tokens:,} ({share})"
            rows += [
                (f"tokens that {name} never has", unseen),
                ("divergence of the tokens", f"{tokens.divergence:.4f} bits"),
            ]
            if tokens.usual:
                usual = f"{min(tokens.usual):.4f} to {max(tokens.usual):.4f}"
                rows.append((f"usual within {name}", usual))
        if (found := self.duplicates) is not None:
            of_all = f"of {found.num_documents:,} documents"
            rows += [
                ("exact duplicates", f"{found.num_exact:,} {of_all}"),
                ("near duplicates", f"{found.num_near:,} {of_all}"),
            ]
        return rows

    @cached_property
    def pictures(self) -> dict[str, Svg]:
        """By title."""
        drawn: dict[str, Svg] = {}
        both = (self.reference, self.other)
        if self.tokens is not None:
            counts = [(each.name, each.tokens.counts) for each in both]
            drawn["Token frequency"] = pictures.token_frequency(counts)
        lengths = [
            (each.name, each.document_lengths) for each in both if each.document_lengths is not None
        ]
        if len(lengths) == len(both):
            drawn["Document lengths"] = pictures.document_lengths(lengths)
        return drawn

    def markdown(self) -> str:
        """Verdict and pictures as the UI shows them; no text of the corpus."""
        shown = [pictures.as_markdown(svg, title) for title, svg in self.pictures.items()]
        return "\n\n".join([table(self.verdict), *shown])


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
        describe_split(layout, name, tokenizers, folder=elsewhere.get(name))
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
    split = describe_split(layout, name, tokenizers)
    comparisons: list[SplitComparison] = []
    notes: list[str] = []
    for reference_name in held_out_from:
        try:
            reference = describe_split(layout, reference_name, tokenizers)
        except CodedataError as error:
            why = str(error).replace(layout.shown, f"${ROOT_VARIABLE}")
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


def compare_splits(reference: SplitDescription, other: SplitDescription) -> SplitComparison:
    """Compare a split with another one, the reference."""
    tokens, differing = None, []
    if reference.tokenizer.files.fingerprint == other.tokenizer.files.fingerprint:
        first, second = reference.tokens.counts, other.tokens.counts
        num_ids = max(len(first), len(second))  # they differ where a pad token is no token
        first, second = (np.pad(each, (0, num_ids - len(each))) for each in (first, second))
        usual = usual_divergences(
            reference.dataset, first, int(second.sum()), reference.settings.pad_id
        )
        tokens = compare_tokens(first, second, usual)
        most = np.argsort(-tokens.terms, kind="stable")[:_MOST_DIFFERING].tolist()
        p, q = first / first.sum(), second / second.sum()
        decode = reference.tokenizer.tokenizer.decode
        roles = reference.roles | other.roles
        differing = [
            (
                repr(decode([i], skip_special_tokens=False)),
                *(i, float(p[i]), float(q[i]), roles.get(i, "")),
            )
            for i in most
            if tokens.terms[i] > 0
        ]
    gone = reference.no_windows or other.no_windows
    return SplitComparison(
        reference=reference,
        other=other,
        tokens=tokens,
        differing=differing,
        duplicates=None if gone else find_duplicates(reference.windows, other.windows),
    )
