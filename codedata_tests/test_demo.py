"""The embedded demo: no network, no account, no file to provide."""

import re
import subprocess
import sys

import dagster as dg
import pytest

import codedata
from codedata.layout import Layout
from codedata.sources.record import read_corpus
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests.demo import Demo


def test_the_closing_summary_says_what_was_written_where(demo: Demo) -> None:
    lines = demo.stdout.splitlines()
    assert len(lines) == 4
    for split, made, report in (("demo_train", *lines[:2]), ("demo_validation", *lines[2:])):
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


def test_the_demo_s_tokenizer_has_the_structure_that_the_fast_engine_is_exact_for(
    demo: Demo,
) -> None:
    folder = Layout(demo.root).tokenizer("demo_tokenizer")
    loaded = load_tokenizer(find_tokenizer(str(folder)))
    assert choose_engine(loaded).name == "pretokens"
    assert loaded.bos_id == 0


def test_every_check_of_the_demo_passed_and_is_on_record(demo: Demo) -> None:
    with dg.DagsterInstance.from_config(str(demo.root / ".dagster")) as instance:
        for split in ("demo_train", "demo_validation"):
            for asset, name in (
                ("token_chunks", "held_out"),
                ("token_chunks", "matches_library"),
                ("token_chunks", "tokenizer_fidelity"),
                ("token_chunks", "token_ids"),
                ("meta_json", "integrity"),
                ("pickle_shards", "sample_counts"),
                ("pickle_shards", "sequence_lengths"),
                ("pickle_shards", "token_ids"),
            ):
                key = dg.AssetCheckKey(dg.AssetKey([split, asset]), name)
                history = instance.event_log_storage.get_asset_check_execution_history(key, 50)
                events = [r.event.dagster_event for r in history if r.event is not None]
                found = [event.event_specific_data for event in events if event is not None]
                passed = [e.passed for e in found if isinstance(e, dg.AssetCheckEvaluation)]
                assert passed, f"{split}/{asset} {name} was evaluated"
                assert all(passed), f"{split}/{asset} {name}"


def test_loading_the_code_location_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, codedata.definitions; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
