"""Counts -> the pictures of a report: SVG, 5 to 40 kB, the same bytes for the same counts.

Nobody knows on which ground a picture will be seen: the UI has a white and a nearly black one, and
an image cannot ask. So the ground is left transparent, and text, lines and areas have tones in the
middle, with a contrast of 4 to 5 against either. A page that has a picture inline replaces `INK` by
its own text colour. Text is text, in the reader's font; the size is that of a phone's width.
"""

import io
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from codedata.reporting.statistics import Counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Svg = str

INK = "#757b86"
"""Of text and axes: contrast 4.2 on white, 4.7 on the UI's dark ground."""

_LINES = (("#2f7fd1", "-"), ("#c2610c", (0, (5, 1.5))), ("#2c8a4b", (0, (2, 1.2))))
"""Lines differ in more than their colour."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "codedata",
    "figure.figsize": (4.6, 2.7),  # inches of 96 pixels: a phone has nine tenths of them
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], INK
    ),
    "grid.color": INK,
    "savefig.transparent": True,
    "savefig.dpi": 200,
}

_POINTS = 200
"""Of a curve over up to a hundred thousand ranks: more cannot be seen."""

_MOST_BARS, _MOST_STEPS = 60, 500
"""More chunks are drawn as one outline; still more, narrower than a pixel, as an image."""

_REFERENCE = re.compile(r'(?<=\bid=")|(?<=\bhref="#)|(?<=url\(#)')
"""Where a name begins that must be another in each picture of a page."""

_SIZE = re.compile(r' (?:width|height)="[^"]*"')

_DRAWING = Lock()
"""matplotlib's style is the whole process's; pictures are drawn one at a time."""


def token_frequency(series: Sequence[tuple[str, Counts]]) -> Svg:
    """How often the most frequent token occurs, the second, and so on: rank and times in a million.

    Args:
        series: name and counts, shape (num_ids,), of one dataset, or of two.
    """
    with _axes("Token frequency") as axes:
        for (name, counts), (colour, dashes) in zip(series, _LINES, strict=False):
            ranked = np.sort(counts[counts > 0])[::-1]
            ranks = np.unique(np.geomspace(1, len(ranked), _POINTS).astype(int))
            times = ranked[ranks - 1] * 1e6 / ranked.sum()
            axes.plot(ranks, times, color=colour, linestyle=dashes, label=name)
        axes.set(
            xlabel="rank of the token", ylabel="times in a million", xscale="log", yscale="log"
        )
        return _svg(axes, legend=len(series) > 1)


def document_lengths(
    series: Sequence[tuple[str, NDArray[np.int64]]], sample_chars: int | None = None
) -> Svg:
    """How long documents are.

    Args:
        series: name and characters of each document, shape (num_documents,), of one dataset, or
            of two.
        sample_chars: about how many characters one sample holds, to be marked.
    """
    with _axes("Document lengths") as axes:
        longest = max(int(lengths.max(initial=1)) for _, lengths in series)
        fewest = min(len(lengths) for _, lengths in series)
        num_bins = int(np.clip(4 * fewest**0.4, 12, 48))  # few documents in many bins are noise
        edges = np.geomspace(1, max(10, longest + 1), num_bins + 1)
        for (name, lengths), (colour, dashes) in zip(series, _LINES, strict=False):
            shares = 100 * np.histogram(np.maximum(lengths, 1), edges)[0] / max(1, len(lengths))
            line: dict[str, Any] = {"color": colour, "linestyle": dashes, "linewidth": 1.8}
            axes.stairs(shares, edges, label=name if len(series) > 1 else None, **line)
            if len(series) == 1:
                axes.stairs(shares, edges, color=colour, alpha=0.25, fill=True)
        if sample_chars is not None:
            marked = f"one sample: about {sample_chars:,} characters"
            axes.axvline(sample_chars, color=INK, linestyle=":", linewidth=1.4, label=marked)
        axes.set(xlabel="characters", ylabel="% of documents", xscale="log")
        axes.set_ylim(bottom=0)
        return _svg(axes, legend=len(series) > 1 or sample_chars is not None)


def tokens_per_chunk(num_tokens: Sequence[int]) -> Svg:
    """How many tokens, padding left out, the samples of each chunk hold."""
    with _axes("Tokens per chunk") as axes:
        number = len(num_tokens)
        if number <= _MOST_BARS:
            axes.bar(range(1, number + 1), num_tokens, color=_LINES[0][0], width=0.72)
        else:
            edges = np.arange(number + 1) + 0.5
            as_image = number > _MOST_STEPS
            axes.stairs(num_tokens, edges, color=_LINES[0][0], fill=True, rasterized=as_image)
        axes.set(xlabel="chunk", ylabel="tokens", xlim=(0.4, number + 0.6))
        axes.locator_params(axis="x", integer=True)
        axes.set_ylim(0, 1.12 * max([*num_tokens, 1]))
        axes.grid(visible=False, axis="x")
        return _svg(axes)


def documents_a_sample(num_documents: NDArray[np.int64]) -> Svg:
    """Of how many documents the samples have a part.

    Args:
        num_documents: of each sample, shape (num_samples,).
    """
    with _axes("Documents a sample") as axes:
        most = int(num_documents.max(initial=1))
        counts = np.bincount(num_documents, minlength=most + 1)
        shares = 100 * counts / max(1, len(num_documents))
        if most <= _MOST_BARS // 2:
            axes.bar(range(1, most + 1), shares[1:], color=_LINES[0][0], width=0.72)
            axes.locator_params(axis="x", integer=True)
        else:
            edges = np.unique(np.geomspace(1, most + 1, _MOST_BARS // 2).astype(int))
            sums = np.add.reduceat(shares, edges[:-1])
            axes.stairs(sums, edges, color=_LINES[0][0], fill=True)
            axes.set_xscale("log")
        axes.set(xlabel="documents", ylabel="% of samples")
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        return _svg(axes)


def as_markdown(picture: Svg, title: str) -> str:
    """A picture inside of markdown, as wide as there is room.

    Dagster's UI lets addresses through that hold an image.
    """
    head, rest = picture.split(">", 1)
    sizeless = f"{_SIZE.sub('', head)}>{rest}"
    return f"![{title}](data:image/svg+xml;base64,{b64encode(sizeless.encode()).decode()})"


def as_html(picture: Svg, title: str, number: int) -> str:
    """A picture inside of a page, in its text colour; `number` tells its names from others'."""
    named = _REFERENCE.sub(rf"\g<0>p{number}-", picture).replace(INK, "var(--ink)")
    return named.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


@contextmanager
def _axes(title: str) -> "Iterator[Axes]":
    """An empty picture in our style, whatever style the process has."""
    # matplotlib takes a third of a second that the UI and the other commands need not wait for.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _DRAWING, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast("Any", _STYLE))
        axes = Figure().add_subplot()
        axes.set_title(title)
        yield axes


def _svg(axes: "Axes", *, legend: bool = False) -> Svg:
    """The picture, numbers at its axes as people write them, the legend below its grid."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: _short(value))
        axis.minorticks_off()
    figure, file = cast("Any", axes.figure), io.StringIO()
    if legend:
        figure.legend(loc="lower center", ncols=2)
    figure.subplots_adjust(left=0.16, right=0.97, top=0.91, bottom=0.29 if legend else 0.18)
    nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
    figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _short(value: float) -> str:
    """1,500,000 -> 1.5 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
