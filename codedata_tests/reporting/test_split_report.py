"""Reports of small published splits: the command, the page's content, and what is left out."""

import html.parser
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from codedata import build
from codedata.cli import main
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME, dump_facts
from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.printable import percent, printable
from codedata.reporting.html import render
from codedata.reporting.published import of_whole_documents
from codedata.reporting.split_report import (
    Report,
    compare_splits,
    report_held_out,
    report_on,
    write_report,
)
from codedata.reporting.statistics import ChunkTokens, TokenCounts
from codedata.sources.parquet.text import ParquetText, Window
from codedata.sources.record import record_corpus
from codedata.store.dataset_folder import read_facts
from codedata_tests import scenario
from codedata_tests.components.test_browser import CHROMIUM
from codedata_tests.format.test_facts import FACTS as OTHERS
from codedata_tests.format.test_facts import sealed
from codedata_tests.format.test_old_cards import OLD_CARD, OLD_DIGEST, old_card
from codedata_tests.script_runs import PAD_ID, run_here

HOSTILE = "</script></pre><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x00&lt;"
TWIN = "\n".join(f"int shared_{i}(void) {{ return {i}; }}" for i in range(60))


@pytest.fixture(scope="module")
def root(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits over a corpus whose first and last documents are hostile, and alike."""
    folder = tmp_path_factory.mktemp("reports")
    inner = scenario.c_documents(40)
    documents = [f"{HOSTILE}\n{TWIN}", *inner[:30], *inner[30:], f"{HOSTILE} changed\n{TWIN}"]
    text = scenario.plain_text(documents)
    corpus = scenario.write_parquet(folder / "c.parquet", documents)
    record_corpus(folder / "root" / "corpora" / "c", corpus, {"kind": "local"})
    border = len(text) * 2 // 3
    for split, start, count in (("train", 0, border), ("validation", border, len(text))):
        target = folder / "root" / "datasets" / split
        target.parent.mkdir(parents=True, exist_ok=True)
        switches = {
            "data_file": corpus,
            "tokenization_folder": target,
            "tokenizer_base": tokenizer_folder,
            "pad_token": PAD_ID,
            "min_sample_length": 0,
            "seq_length": 64,
            "starting_character": start,
            "chars_to_tokenize": count,
            "chunk_size": 20_000,
        }
        arguments = [word for name, value in switches.items() for word in (f"--{name}", str(value))]
        assert run_here(arguments) == 0
    return folder / "root"


@pytest.fixture(scope="module")
def report(root: Path) -> Report:
    return report_on(Layout(root), ["train", "validation"])


@pytest.fixture
def own_root(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to damage, named by the environment."""
    copy = tmp_path / "root"
    shutil.copytree(root, copy)
    monkeypatch.setenv("CODEDATA_ROOT", str(copy))
    return copy


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in {"meta", "use", "path", "link"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag in {"use", "path"}:
            return
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(report: Report) -> bytes:
    return render(report)


def test_the_page_says_what_the_splits_are_made_of(report: Report, page: bytes) -> None:
    text = Page(page).text
    train, validation = report.splits
    assert f"{train.dataset.num_samples:,} of 64 tokens" in text
    assert train.dataset.digest in text
    assert validation.dataset.digest in text
    assert "vocabulary" in text.lower()
    [compared] = report.comparisons
    assert compared.tokens is not None
    for name, value in compared.verdict:
        assert f"{name} {value}" in text
    found = compared.duplicates
    assert found is not None
    assert f"Of the {found.num_documents + 1} documents of validation, whole or in part, " in text
    assert f"{found.num_documents} are compared; the border between the two cuts 1, of" in text
    for split in report.splits:
        assert split.document_lengths is not None
        assert len(split.document_lengths) > 5


def test_the_twins_across_the_splits_are_found(report: Report) -> None:
    [compared] = report.comparisons
    assert compared.duplicates is not None
    assert compared.duplicates.num_near >= 1
    assert any(twin.beginning.startswith(HOSTILE) for twin in compared.duplicates.twins)
    assert compared.duplicates.num_in_both == 1


def test_hostile_documents_and_tokens_come_out_as_text_and_the_page_needs_nothing_else(
    page: bytes,
) -> None:
    seen = Page(page)
    assert seen.open == [], "every element is closed"
    wild = {"script", "iframe", "object", "embed", "link", "base", "form", "img"}
    assert not wild & set(seen.tags)
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
    assert "<script>alert(1)</script><img src=x onerror=alert(1)>" in seen.text
    assert not {"\u202e", "\x00"} & set(seen.text)
    assert "&lt;" in seen.text, "an entity in a document is not decoded"
    leading = {"src", "href", "xlink:href", "data", "action", "poster", "srcset"}
    addresses = [value or "" for _, name, value in seen.attributes if name in leading]
    assert addresses
    assert all(each.startswith(("#", "data:image/png;base64,")) for each in addresses)
    assert b"@import" not in page
    assert b"url(http" not in page
    assert b"default-src 'none'" in page


def test_names_on_the_page_are_each_there_once_and_links_lead_to_them(page: bytes) -> None:
    attributes = Page(page).attributes
    names = [value for _, name, value in attributes if name == "id"]
    assert len(names) == len(set(names))
    links = [value for tag, name, value in attributes if tag == "a" and name == "href"]
    assert links == ["#validation-against-train", "#train", "#validation"]
    assert {str(link)[1:] for link in links} <= set(names)


CUT = """() => [...document.querySelectorAll("body, body *:not(svg *)")].filter(
    each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth
        || each.getBoundingClientRect().right > document.documentElement.clientWidth
        || getComputedStyle(each).display == "none" && each.tagName != "NAV"
).map(each => `${each.tagName}: ${each.textContent.slice(0, 80)}`)"""
"""Elements that their place is too narrow for, that the window ends before, or that are hidden."""


@pytest.mark.campaign
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
def test_a_browser_runs_nothing_fetches_nothing_and_cuts_nothing_at_any_width_in_either_light(
    report: Report, tmp_path: Path
) -> None:
    """Numbers and names as they are in datasets a thousand times as large."""
    from playwright.sync_api import sync_playwright

    chars = CharRange(1_280_000_000, 1_290_000_000, 128)
    chunk = ChunkTokens(chars=chars, num_tokens=4_194_304, num_padding=1_535)
    train, validation = report.splits
    large = replace(
        train,
        name="a_split_with_a_name_of_forty_characters_",
        tokens=TokenCounts(counts=train.tokens.counts * 10**6, chunks=[chunk] * 30),
    )
    comparisons = [compare_splits(large, validation), *report.comparisons]
    path = tmp_path / "report.html"
    write_report(path, Report(splits=[large, validation], comparisons=comparisons, notes=["N"]))
    grounds: set[str] = set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        view = browser.new_page()
        said: list[str] = []
        view.on("dialog", lambda dialog: said.append(dialog.message))
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        fetched: list[str] = []
        view.on("request", lambda request: fetched.append(request.url))
        view.goto(f"file://{path}")
        assert view.locator("figure svg").count() == 10
        for width, columns in {320: 1, 390: 1, 768: 1, 1280: 2, 1920: 3}.items():
            for scheme in ("light", "dark"):
                view.set_viewport_size({"width": width, "height": 900})
                view.emulate_media(media="screen", color_scheme=scheme)
                assert view.evaluate(CUT) == [], f"{width} pixels, {scheme}"
                grounds.add(view.evaluate("getComputedStyle(document.body).backgroundColor"))
            lefts = "each => Math.round(each.getBoundingClientRect().left)"
            places = view.evaluate(f"[...document.querySelectorAll('.flow > *')].map({lefts})")
            assert len(set(places)) == columns, "wide windows are used"
        assert len(grounds) == 2
        view.emulate_media(media="print", color_scheme="dark")
        assert view.evaluate("getComputedStyle(document.body).backgroundColor") == max(grounds)
        view.set_viewport_size({"width": 688, "height": 900})  # A4 without its margins
        assert view.evaluate(CUT) == [], "printed"
        browser.close()
    assert said == []
    assert [url for url in fetched if not url.startswith("data:")] == fetched[:1]


def test_the_command_writes_the_page_and_says_so_and_the_same_report_is_the_same_to_the_last_byte(
    root: Path,
    page: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(root))
    path = tmp_path / "r.html"
    assert main(["report", "train", "validation", "train", "-o", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{path}: train, validation; ")
    assert captured.err == ""
    assert path.read_bytes() == page
    assert page.startswith(b"<!doctype html>")
    assert [each.name for each in tmp_path.iterdir()] == ["r.html"]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["report", *map(str, arguments)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line.removeprefix("codedata: error: ")


def test_a_split_that_was_not_made_is_refused(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "r.html"
    assert refusal(capsys, "test", "-o", page) == (
        f"there is no dataset 'test' in {own_root}/datasets, and no folder test here: there are "
        "train, validation; `codedata list` says which splits can be made, or set CODEDATA_ROOT to "
        "the folder that holds it"
    )
    assert refusal(capsys, "../train", "-o", page).startswith("../train is no dataset folder")
    assert not page.exists()


def test_a_place_that_no_report_can_take_is_refused_before_any_work(
    own_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "nowhere", "-o", tmp_path) == (
        f"{tmp_path} is a folder; name the file that the report is to be"
    )
    assert refusal(capsys, "nowhere", "-o", tmp_path / "no" / "r.html") == (
        f"{tmp_path}/no/r.html cannot be written: there is no folder {tmp_path}/no; make it, or "
        "name another"
    )


def edit(path: Path, old: str, new: str, *, seal: bool = True) -> None:
    """Change what facts say, as another codedata might have said it."""
    data = path.read_bytes().replace(old.encode(), new.encode())
    assert data != path.read_bytes()
    path.write_bytes(sealed(data) if seal else data)


VERSION = version("codedata")
FACTS: list[tuple[Callable[[Path], object], str]] = [
    (
        lambda path: (path.unlink(), path.with_name(CARD_NAME).unlink()),
        "does not say what it was made of, which a report needs to know: it holds no codedata.yaml",
    ),
    (lambda path: path.unlink(), "/README.md is not as it was written"),
    (
        lambda path: edit(path, 'engine: "', 'engine: "my', seal=False),
        "/codedata.yaml is not as it was written",
    ),
    (
        lambda path: path.write_bytes(dump_facts(OTHERS, b"")),
        f"/codedata.yaml is of another dataset (digest {OTHERS.digest}, not ",
    ),
    (
        lambda path: edit(path, "tokenizer:", "tokeniser:"),
        "/codedata.yaml lacks or misstates tokenizer: Field required",
    ),
    (
        lambda path: edit(path, '.parquet"\n  sha256', '.parquet"\n  md5'),
        f"/codedata.yaml lacks or misstates 'fingerprint': it is of codedata {VERSION};",
    ),
    (
        lambda path: edit(path, "  seq_length: 64\n  max", "  seq_len: 64\n  max"),
        "got an unexpected keyword argument 'seq_len'",
    ),
]


def test_a_dataset_that_does_not_say_what_it_is_made_of_is_refused(
    own_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_root / "datasets" / "train"
    whole = {name: (folder / name).read_bytes() for name in (FACTS_NAME, CARD_NAME)}
    for change, said in FACTS:
        for name, data in whole.items():
            (folder / name).write_bytes(data)
        change(folder / FACTS_NAME)
        refused = refusal(capsys, "train", "-o", own_root / "r.html")
        assert refused.startswith(str(folder))
        assert said in refused


def test_a_tokenizer_that_was_replaced_is_refused(
    own_root: Path,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = own_root / "tokenizers" / tokenizer_folder.name
    shutil.copytree(tokenizer_folder, changed)
    (changed / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    page = own_root / "r.html"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = refusal(capsys, "train", "-o", page)
    assert said.startswith(f"tokenizer {tokenizer_folder.name} that made 'train' (sha256 ")
    assert "is not where it was, or is another one by now: name its folder" in said
    assert main(["report", "train", "-o", str(page), "--tokenizer", str(tokenizer_folder)]) == 0
    shutil.copytree(tokenizer_folder, changed, dirs_exist_ok=True)
    assert main(["report", "train", "-o", str(page)]) == 0


def test_neither_facts_nor_card_nor_page_name_a_folder_of_this_machine(
    own_root: Path, root: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    places = [
        str(tmp_path_factory.getbasetemp()),
        str(root),
        str(tokenizer_folder),
        str(Path.home()),
        "/home/ada",
    ]
    folder = own_root / "datasets" / "train"
    report = report_held_out(Layout(own_root), "validation", ["train", "test"])
    pages = [(folder / name).read_text(encoding="utf-8") for name in (FACTS_NAME, CARD_NAME)]
    pages.append(render(report).decode())
    # What an older codedata recorded, and a corpus that is gone since.
    facts = read_facts(folder)
    assert facts is not None
    head = OLD_CARD.decode()
    old = old_card(
        (OLD_DIGEST, facts.digest),
        (
            head[head.index("  corpus:") : head.index("  tokenizer:")],
            f'  corpus:\n    path: "{root}/c.parquet"\n    sha256: "{facts.corpus["sha256"]}"\n',
        ),
        ('source: "/home/ada/tokenizers/mine"', f'source: "{tokenizer_folder}"'),
        ("d" * 64, facts.tokenizer.sha256),
        ("chars_to_tokenize: 100000000", "chars_to_tokenize: 60000"),
    )
    (folder / CARD_NAME).write_bytes(old)
    (folder / FACTS_NAME).unlink()
    pages.append(render(report_on(Layout(own_root), ["train"])).decode())
    record = own_root / "corpora" / "c" / "corpus.json"
    gone = record.read_text(encoding="utf-8").replace("c.parquet", "gone.parquet")
    record.write_text(gone, encoding="utf-8")
    pages.append(render(report_on(Layout(own_root), ["train"])).decode())
    assert "No document lengths: gone.parquet cannot be read" in pages[-1]
    shutil.rmtree(own_root / "corpora")
    pages.append(render(report_on(Layout(own_root), ["train"])).decode())
    assert len(pages) == 6
    for page in pages:
        assert "c.parquet" in page
        assert tokenizer_folder.name in page
        assert [place for place in places if place in page] == []


@pytest.mark.parametrize("left", [None, "{"], ids=["no corpora", "a damaged record"])
def test_without_the_corpus_the_report_has_the_rest_and_says_so(
    left: str | None, own_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if left is None:
        shutil.rmtree(own_root / "corpora")
    else:
        (own_root / "corpora" / "c" / "corpus.json").write_text(left)
    path = own_root / "r.html"
    assert main(["report", "train", "validation", "-o", str(path)]) == 0
    assert "train: no documents: no corpus under" in capsys.readouterr().err
    page = Page(path.read_bytes())
    assert "No document lengths: no corpus under" in page.text
    assert "The documents are not compared: no corpus under" in page.text
    assert "divergence of the tokens" in page.text
    assert "exact duplicates" not in page.text
    assert page.tags.count("figure") == 5


def test_a_split_that_is_held_out_from_one_not_made_is_described_alone(own_root: Path) -> None:
    report = report_held_out(Layout(own_root), "validation", ["test", "train"])
    assert [each.reference.name for each in report.comparisons] == ["train"]
    [note] = report.notes
    assert note.startswith("validation is not compared with test: split 'test' has no dataset in ")
    assert printable(note) in Page(render(report)).text


def test_shares_are_written_for_people() -> None:
    shares = [percent(share) for share in (0, 1, 0.125, 0.0426, 0.0004, 0.00000012)]
    assert shares == ["0.0%", "100.0%", "12.5%", "4.3%", "0.040%", "1.2e-07"]


def test_of_documents_a_split_has_those_that_begin_in_its_window_each_whole(tmp_path: Path) -> None:
    documents = ["aaaa", "", "bbbb", "c" * 20, "d"]  # from 0, 5, 6, 11 and 32 on
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=2))

    def whole(start: int, stop: int) -> tuple[int, int] | None:
        found = of_whole_documents(Window.of(text, CharRange(start, stop)))
        return None if found is None else (found.chars.start, found.chars.stop)

    assert whole(0, 33) == (0, 33)
    assert whole(0, 7) == (0, 10), "the last is whole"
    assert whole(1, 12) == (5, 31), "of the first, another window has the begin"
    assert whole(0, 5) == (0, 5)
    assert whole(12, 32) is None, "of the only one"
    assert whole(31, 33) == (32, 33)
    for start, stop in ((0, 7), (1, 12), (5, 11)):
        window = of_whole_documents(Window.of(text, CharRange(start, stop)))
        assert window is not None
        lengths = [n for each in text.documents(window.chars) for n in each.num_chars.tolist()]
        begin = {0: 4, 5: 0, 6: 4, 11: 20, 32: 1}
        assert lengths == [n for at, n in begin.items() if start <= at < stop]


def test_splits_with_documents_are_described_and_compared_by_their_own_documents(
    root: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "corpora", tmp_path / "corpora")
    [corpus] = root.parent.glob("*.parquet")
    recipe = {"documents": {"bos": scenario.BOS, "eos": scenario.EOT}}
    switches: dict[str, Any] = {"tokenizer_base": str(tokenizer_folder), "seq_length": 64}
    switches |= {"pad_token": PAD_ID, "min_sample_length": 0, "chunk_size": 20_000}
    (tmp_path / "datasets").mkdir()
    for name, start, count in (("train", 0, 60_000), ("validation", 60_000, 10**9)):
        window: dict[str, Any] = {"starting_character": start, "chars_to_tokenize": count}
        folder = tmp_path / "datasets" / name
        build(corpus, folder, recipe=recipe, **switches, **window)
    report = report_on(Layout(tmp_path), ["train", "validation"])
    [compared] = report.comparisons
    assert compared.duplicates is not None
    assert compared.duplicates.num_in_both == 0, "their border cuts none"
    texts = pq.read_table(corpus)["content"].to_pylist()
    lengths = [split.document_lengths for split in report.splits]
    assert [n for each in lengths if each is not None for n in each] == [*map(len, texts)]
    text = Page(render(report)).text
    eot = report.splits[0].tokenizer.tokenizer.token_to_id(scenario.EOT)
    for split, own in zip(report.splits, lengths, strict=True):
        assert split.documents is not None
        assert own is not None
        assert split.documents.documents == len(own)
        assert split.tokens.num_padding == split.documents.padding > 0
        assert split.tokens.counts[eot] == len(own)
        assert f"token {eot}, ends documents {len(own)} (" in text
    assert ", whole or in part" not in text
    assert "documents cut over samples" in text
    assert "document 0 <|begin|>" in text
    train, validation = report.splits
    only = np.zeros_like(validation.tokens.counts)
    only[eot] = 100
    tokens = replace(validation.tokens, counts=only)
    first, *_ = compare_splits(train, replace(validation, tokens=tokens)).differing
    assert first[:2] == ("'<|EOT|>'", eot)
    assert first[4] == "ends documents"
