"""Pictures: small, the same every time, well-formed, and right for odd data too."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from codedata.reporting import pictures
from codedata.reporting.pictures import INK, Svg, as_html, as_markdown
from codedata.reporting.statistics import Counts

SEED = np.random.default_rng(0)
ZIPF: Counts = (1e6 / np.arange(1, 32_001)).astype(np.int64)
OTHER: Counts = SEED.poisson(ZIPF / 50)
LENGTHS = SEED.lognormal(8, 1.5, 10_000).astype(np.int64)
ONE: Counts = np.array([0, 7, 0])


DRAWN: dict[str, Callable[[], Svg]] = {
    "frequency": lambda: pictures.token_frequency([("train", ZIPF), ("validation", OTHER)]),
    "frequency of one token": lambda: pictures.token_frequency([("a", ONE)]),
    "lengths": lambda: pictures.document_lengths([("a", LENGTHS)], 3300),
    "lengths of two": lambda: pictures.document_lengths([("a", LENGTHS), ("b", LENGTHS[:90])]),
    "lengths of none": lambda: pictures.document_lengths([("a", np.array([], np.int64))]),
    "lengths of an empty document": lambda: pictures.document_lengths([("a", np.array([0]))]),
    "documents a sample": lambda: pictures.documents_a_sample(np.array([1, 1, 2, 5])),
    "many documents a sample": lambda: pictures.documents_a_sample(LENGTHS % 400 + 1),
    "documents of no sample": lambda: pictures.documents_a_sample(np.array([], np.int64)),
    "no chunk": lambda: pictures.tokens_per_chunk([]),
    "an empty chunk": lambda: pictures.tokens_per_chunk([0]),
    "a hundred chunks": lambda: pictures.tokens_per_chunk([4_000_000 + i for i in range(100)]),
    "many chunks": lambda: pictures.tokens_per_chunk([i % 1536 for i in range(3000)]),
}


@pytest.fixture(scope="module")
def frequency() -> Svg:
    return DRAWN["frequency"]()


def test_the_same_data_give_the_same_picture(frequency: Svg) -> None:
    assert DRAWN["frequency"]() == frequency


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_a_picture_is_small_and_well_formed(draw: Callable[[], Svg]) -> None:
    picture = draw()
    assert len(as_markdown(picture, "t")) < 100_000
    root = ET.fromstring(picture)  # noqa: S314  # our own
    assert root.tag.endswith("svg")
    texts = [node.text for node in root.iter() if node.tag.endswith("}text")]
    assert texts, "text stays text"
    assert not any("nan" in str(text) or "inf" in str(text) for text in texts)
    links = [value for node in root.iter() for name, value in node.items() if "href" in name]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_axes_are_labelled_as_people_write_numbers(frequency: Svg) -> None:
    for label in ("1 k", "100 k", "train", "validation", "times in a million"):
        assert f">{label}<" in frequency


def test_names_of_one_page_s_pictures_do_not_clash_and_text_takes_the_page_s_colour(
    frequency: Svg,
) -> None:
    pages = [as_html(frequency, 'Token "frequency"', number) for number in (1, 2)]
    names = [
        {node.get("id") for node in ET.fromstring(page).iter()} - {None}  # noqa: S314
        for page in pages
    ]
    assert names[0]
    assert not names[0] & names[1]
    for page, own in zip(pages, names, strict=True):
        used = {word.split('"')[0] for word in page.split('href="#')[1:]}
        used |= {word.split(")")[0] for word in page.split("url(#")[1:]}
        assert used
        assert used <= own
        assert INK not in page
        assert "var(--ink)" in page
        assert 'role="img" aria-label="Token &quot;frequency&quot;"' in page


def test_the_process_s_own_style_is_left_alone_and_does_not_matter() -> None:
    import matplotlib as mpl

    before = DRAWN["an empty chunk"]()
    with mpl.rc_context({"font.size": 30, "axes.grid": False}):
        assert DRAWN["an empty chunk"]() == before
        assert mpl.rcParams["font.size"] == 30
    assert "matplotlib.pyplot" not in sys.modules


def test_the_ui_starts_without_what_only_pictures_need_and_they_are_drawn_without_any_cache() -> (
    None
):
    code = (
        "import sys, codedata.definitions, codedata.cli; "
        "assert not {'matplotlib', 'codedata.reporting.pictures'} & set(sys.modules); "
        "import numpy as np; from codedata.reporting.pictures import token_frequency as f; "
        "print(len(f([('a', np.arange(9))])))"
    )
    known = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    nowhere = dict.fromkeys(["HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"], "/dev/null/nowhere")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**known, **nowhere},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 1000
