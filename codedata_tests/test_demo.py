"""The embedded demo: no network, no account, no file to provide."""

import re

import pytest

import codedata
from codedata.layout import Layout
from codedata.sources.record import read_corpus
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests.demo import DEMO_SPLITS, Demo


def test_the_closing_summary_says_what_was_written_where(demo: Demo) -> None:
    lines = demo.stdout.splitlines()
    assert len(lines) == 2 * len(DEMO_SPLITS)
    for split, made, report in zip(DEMO_SPLITS, lines[::2], lines[1::2], strict=True):
        assert made.startswith(f"{demo.root}/datasets/{split}: ")
        assert "samples of" in made
        assert report == f"{demo.root}/reports/{split}.html: what it is made of"
    assert re.search(r"^codedata: done in .* s; codedata .* cores$", demo.stderr, re.MULTILINE)
    assert "Traceback" not in demo.stderr
    assert "Tokenizing demo_train: 8 of 8 chunks, " in demo.stderr


def test_the_demo_has_several_chunks_and_thousands_of_samples(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(demo.root))
    train = codedata.load_dataset("demo_train")
    validation = codedata.load_dataset("demo_validation", verify=True)
    assert (train.seq_length, validation.seq_length) == (1536, 512)
    assert len(train) > 5000
    assert len(validation) > 1000
    chunks = {entry.chars for each in train.datasets for entry in each.entries}
    assert len(chunks) == 8
    corpus = read_corpus(Layout(demo.root).corpus("demo_corpus"))
    assert corpus.num_chars > 36_000_000, "both windows are full"
    assert not {entry.chars for each in validation.datasets for entry in each.entries} & chunks


def test_the_demo_s_documents_are_whole_where_they_fit_and_half_are_asked_in_the_middle(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(demo.root))
    documents = codedata.load_dataset("demo_documents", verify=True)
    eos = documents[0]["input_ids"][documents.documents(0)[0].stop - 1]
    assert eos == documents.eos_token_id == documents.tokenizer.eos_token_id
    assert documents.vocab_size == len(documents.tokenizer)
    [dataset] = documents.datasets
    assert dataset.facts is not None
    counts = dataset.facts.documents
    assert counts is not None
    assert counts.documents > 300
    assert counts.tokens_dropped == 0
    assert counts.cut_though_short < 4, "drawn, and within 8 tokens of a sample"
    assert 0.4 < (counts.psm + counts.spm) / counts.pieces < 0.6
    assert counts.padding < 0.01 * dataset.num_tokens


def test_the_demo_s_tokenizer_has_the_structure_that_the_fast_engine_is_exact_for(
    demo: Demo,
) -> None:
    folder = Layout(demo.root).tokenizer("demo_tokenizer")
    loaded = load_tokenizer(find_tokenizer(str(folder)))
    assert choose_engine(loaded).name == "pretokens"
    assert loaded.bos_id == 0
