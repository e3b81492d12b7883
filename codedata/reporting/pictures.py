"""Counts -> pictures: SVG, 5 to 40 kB each, the same bytes for the same counts.

Nobody knows on which ground a picture will be seen: the UI has a white and a nearly black one, and
an image cannot ask. So the ground is left transparent, and text, lines and areas have tones in the
middle, with a contrast of 4 to 5 against either. A page that has a picture inline replaces `INK` by
its own text colour. Text is text, in the reader's font; the size is that of a phone's width. All
pictures stand in this one module, since they share the tones and the axes.
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

from codedata.reporting.statistics import ChunkTokens, Counts, TokenComparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Svg = str

INK = "#757b86"
"""Of text and axes: contrast 4.2 on white, 4.7 on the UI's dark ground."""

COLOURS = ("#2f7fd1", "#c2610c", "#2c8a4b", "#a44fc4")
_DASHES = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
"""Lines differ in more than their colour."""

_WIDTH, _HEIGHT = 4.6, 2.9
"""Inches of 96 pixels: 440 of them fit the UI's dialogue, and a phone at nine tenths."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "codedata",
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

_MOST_BARS = 60
"""More chunks are drawn as one outline."""

_MOST_STEPS = 500
"""More chunks are narrower than a pixel, and would take hundreds of kilobytes."""

_TICKS = 10
"""Chunks that are numbered one by one."""

_REFERENCE = re.compile(r'(?<=\bid=")|(?<=\bhref="#)|(?<=url\(#)')
"""Where a name begins that must be another in each picture of a page."""

_DRAWING = Lock()
"""matplotlib's style is the whole process's; pictures are drawn one at a time."""


def token_frequency(series: Sequence[tuple[str, Counts]]) -> Svg:
    """How often the most frequent token occurs, the second, and so on: rank and count.

    Args:
        series: name and counts, shape (num_ids,), of each dataset.
    """
    with _axes("Token frequency") as (figure, axes):
        for name, counts, colour, dashes in _styled(series):
            ranked = np.sort(counts[counts > 0])[::-1]
            ranks = np.unique(np.geomspace(1, len(ranked), _POINTS).astype(int))
            axes.plot(ranks, ranked[ranks - 1], color=colour, linestyle=dashes, label=name)
        axes.set(xscale="log", yscale="log", xlabel="rank of the token", ylabel="times it occurs")
        _decades(axes, "xy")
        _legend(axes, series)
        return _svg(figure)


def document_lengths(
    series: Sequence[tuple[str, NDArray[np.int64]]], sample_chars: int | None = None
) -> Svg:
    """How long documents are.

    Args:
        series: name and characters of each document, shape (num_documents,), of each dataset.
        sample_chars: about how many characters one sample holds, to be marked.
    """
    with _axes("Document lengths") as (figure, axes):
        longest = max(int(lengths.max(initial=1)) for _, lengths in series)
        fewest = min(len(lengths) for _, lengths in series)
        num_bins = int(np.clip(4 * fewest**0.4, 12, 48))  # few documents in many bins are noise
        edges = np.geomspace(1, max(10, longest + 1), num_bins + 1)
        for name, lengths, colour, dashes in _styled(series):
            shares = np.histogram(np.maximum(lengths, 1), edges)[0] / max(1, len(lengths))
            axes.stairs(
                100 * shares, edges, color=colour, linestyle=dashes, linewidth=1.8, label=name
            )
            if len(series) == 1:
                axes.stairs(100 * shares, edges, color=colour, alpha=0.25, fill=True)
        axes.set(xscale="log", xlabel="characters", ylabel="% of documents")
        axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
        if sample_chars is not None:
            axes.axvline(sample_chars, color=INK, linestyle=":", linewidth=1.4)
            axes.annotate(
                "one sample",
                (sample_chars, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -2),
                textcoords="offset points",
                verticalalignment="top",
            )
        _decades(axes, "x")
        _legend(axes, series, loc="upper left")
        return _svg(figure)


def tokens_per_chunk(chunks: Sequence[ChunkTokens]) -> Svg:
    """How many tokens, padding left out, the samples of each chunk hold."""
    return _bars("Tokens per chunk", [chunk.num_tokens for chunk in chunks], "tokens")


def padding_per_chunk(chunks: Sequence[ChunkTokens], seq_length: int) -> Svg:
    """How many pad tokens fill up each chunk's last sample, which takes `seq_length`."""
    return _bars(
        "Padding per chunk",
        [chunk.num_padding for chunk in chunks],
        "pad tokens",
        limit=seq_length,
        limit_name="a whole sample",
    )


def vocabulary_overlap(reference: str, other: str, comparison: TokenComparison) -> Svg:
    """How many ids both datasets use, and how many only one of them."""
    parts = [
        (f"only {reference}", comparison.num_reference_only, COLOURS[0]),
        ("both", comparison.num_common, COLOURS[2]),
        (f"only {other}", comparison.num_other_only, COLOURS[1]),
    ]
    with _axes("Ids that occur", height=1.7) as (figure, axes):
        numbers = [number for _, number, _ in parts]
        bars = axes.barh(range(3), numbers, color=[colour for _, _, colour in parts], height=0.65)
        axes.bar_label(bars, [f"{number:,}" for number in numbers], padding=4)
        axes.set_yticks(range(3), [name for name, _, _ in parts])
        axes.invert_yaxis()
        axes.set_xlim(0, max(numbers) * 1.18)
        axes.xaxis.set_visible(False)
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(left=False)
        axes.grid(visible=False)
        return _svg(figure)


def token_shares(reference: tuple[str, Counts], other: tuple[str, Counts]) -> Svg:
    """The share that each id has of the one dataset's tokens, and of the other's.

    Ids with equal shares lie on the diagonal. Those that one dataset lacks are left out.

    Args:
        reference: name and counts of the dataset on the horizontal axis.
        other: likewise on the vertical one.
    """
    (reference_name, first), (other_name, second) = reference, other
    num_ids = min(len(first), len(second))
    both = np.flatnonzero((first[:num_ids] > 0) & (second[:num_ids] > 0))
    x, y = first[both] / first.sum(), second[both] / second.sum()
    with _axes("Share of each token", height=3.6) as (figure, axes):
        least = float(min(x.min(initial=1), y.min(initial=1)))
        low, high = np.log10(least) - 0.1, 0.0
        cells = np.histogram2d(np.log10(x), np.log10(y), bins=72, range=[[low, high]] * 2)[0].T
        # One colour whose strength says how many ids a cell has: right on any ground.
        strength = np.log1p(cells) / max(1e-9, float(np.log1p(cells.max())))
        pixels = np.zeros((*cells.shape, 4))
        pixels[..., :3] = [int(COLOURS[0][place : place + 2], 16) / 255 for place in (1, 3, 5)]
        pixels[..., 3] = np.where(cells > 0, 0.25 + 0.75 * strength, 0)
        axes.imshow(pixels, extent=(low, high, low, high), origin="lower", interpolation="nearest")
        axes.plot([low, high], [low, high], color=COLOURS[1], linewidth=1.2, linestyle="--")
        exponents = range(int(np.ceil(low)), 1, 2)
        labels = [_share(10.0**exponent) for exponent in exponents]
        axes.set_xticks(exponents, labels)
        axes.set_yticks(exponents, labels)
        axes.set(xlabel=f"of {reference_name}", ylabel=f"of {other_name}")
        axes.set(xlim=(low, high), ylim=(low, high))
        return _svg(figure)


def as_markdown(title: str, picture: Svg) -> str:
    """A picture inside of markdown; Dagster's UI lets addresses through that hold an image."""
    return f"![{title}](data:image/svg+xml;base64,{b64encode(picture.encode()).decode()})"


def as_html(title: str, picture: Svg, number: int) -> str:
    """A picture inside of a page, in its text colour; `number` tells its names from others'."""
    named = _REFERENCE.sub(rf"\g<0>p{number}-", picture).replace(INK, "var(--ink)")
    return named.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def _bars(
    title: str,
    values: Sequence[int],
    ylabel: str,
    *,
    limit: int | None = None,
    limit_name: str = "",
) -> Svg:
    """A bar for each chunk; a line, with its name, that no bar reaches beyond."""
    from matplotlib.ticker import MaxNLocator  # see _axes

    with _axes(title, height=2.4) as (figure, axes):
        if len(values) <= _MOST_BARS:
            axes.bar(range(1, len(values) + 1), values, color=COLOURS[0], width=0.72)
        else:
            edges = np.arange(len(values) + 1) + 0.5
            as_pixels = len(values) > _MOST_STEPS
            axes.stairs(values, edges, color=COLOURS[0], fill=True, rasterized=as_pixels)
        axes.set_xlim(0.4, max(len(values), 4) + 0.6)
        if len(values) <= _TICKS:
            axes.set_xticks(range(1, len(values) + 1))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(0, max([*values, limit or 0, 1]) * 1.12)
        if limit is not None:
            axes.axhline(limit, color=COLOURS[1], linewidth=1.2, linestyle="--")
            axes.annotate(
                f"{limit_name}: {limit:,}",
                (1, limit),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                horizontalalignment="right",
                verticalalignment="bottom",
            )
        axes.set(xlabel="chunk", ylabel=ylabel)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(lambda value, _: _short(value))
        return _svg(figure)


@contextmanager
def _axes(title: str, *, height: float = _HEIGHT) -> "Iterator[tuple[Figure, Axes]]":
    """An empty picture in our style, whatever style the process has."""
    # matplotlib takes a third of a second that the UI and the other commands need not wait for.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with _DRAWING, mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast("Any", _STYLE))
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        yield figure, axes


def _svg(figure: "Figure") -> Svg:
    file = io.StringIO()
    nothing = dict.fromkeys(["Date", "Creator", "Format", "Type"])
    figure.savefig(file, format="svg", metadata=nothing)
    text = file.getvalue()
    return text[text.index("<svg") :]


def _styled(series: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any, str, Any]]:
    for index, (name, values) in enumerate(series):
        yield name, values, COLOURS[index % len(COLOURS)], _DASHES[index % len(_DASHES)]


def _legend(axes: "Axes", series: Sequence[Any], **where: Any) -> None:
    if len(series) > 1:
        axes.legend(**where)


def _decades(axes: "Axes", which: str) -> None:
    """Label powers of ten as people write them."""
    for each in which:
        axis = axes.xaxis if each == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _: _short(value))
        axis.minorticks_off()


def _short(value: float) -> str:
    """1,500,000 -> 1.5 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _share(value: float) -> str:
    """0.01 -> 1%, 0.000001 -> 1 ppm."""
    if value >= 1e-4:
        return f"{100 * value:g}%"
    return f"{1e6 * value:g} ppm" if value >= 1e-7 else f"{1e9 * value:g} ppb"
