"""The drop-in script against the plain reference: the same samples for every corpus and switch."""

import json
import os
import pickle
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from codedata.errors import CodedataError
from codedata.recipe.settings import Settings
from codedata.tokenize_data import build_parser, main, tokenize_data
from codedata_tests import scenario
from codedata_tests.plain_reference import reference_shards
from codedata_tests.script_runs import PAD_ID, command, contents, finished_chunks, run, run_here

ADDED = [scenario.BOS, scenario.PAD, scenario.EOT, *scenario.SINGLE_CHARACTERS]
PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [*ADDED, "\r\n", "\n\n\n", "\0", "\ufeff", "  \t", "🜲🙂", "int i = 0;\n", "中文"]
    ),
    st.builds(lambda seed: scenario.c_documents(1, seed)[0], st.integers(0, 50)),
)
DOCUMENTS = st.lists(
    st.one_of(st.none(), st.lists(PIECES, max_size=6).map("".join)), min_size=1, max_size=12
)


def unpickled(folder: Path) -> list[list[list[int]]]:
    """The shards as plain `pickle.load` reads them, in the order of the meta."""
    meta = json.loads((folder / "dump-meta_data.json").read_bytes())
    return [pickle.loads((folder / name).read_bytes()) for name in meta]


def assert_is_reference(
    folder: Path, documents: list[str | None], tokenizer: Path, switches: dict[str, Any]
) -> None:
    expected = reference_shards(documents, tokenizer, switches)
    shards = unpickled(folder)
    assert shards == [samples for samples, _ in expected]
    assert all(type(token) is int for shard in shards for sample in shard for token in sample)
    meta = json.loads((folder / "dump-meta_data.json").read_bytes())
    for (samples, (start, stop)), (name, entry) in zip(expected, meta.items(), strict=True):
        assert entry["num_samples"] == len(samples), name
        assert entry["num_tokens"] == len(samples) * switches["seq_length"]
        assert (entry["start_character"], entry["stop_character"]) == (start, stop)
    marked = reference_shards(documents, tokenizer, {**switches, "pad_token": -1})
    real = [sum(token >= 0 for token in samples[-1]) for samples, _ in marked]
    assert [entry["last_sample_tokens"] for entry in meta.values()] == real
    assert sorted(os.listdir(folder)) == sorted([*meta, *scenario.TEXTS, "dump-meta_data.json"])


@pytest.mark.parametrize("num_examples", [40, pytest.param(150, marks=pytest.mark.campaign)])
def test_the_script_gives_the_samples_of_the_plain_reference(
    num_examples: int, tokenizer_folder: Path
) -> None:
    small: dict[str, Any] = {"documents": ["x" * 500, None, "", "int 🙂 = 1;\r\n" * 40]}
    small |= {"seq_length": 8, "min_sample_length": 20, "max_dump_size": 2, "row_group_size": 1}
    endless = {"starting_character": 900, "chars_to_tokenize": 10**15, "chunk_size": 10**15}

    @settings(max_examples=num_examples)
    @example(starting_character=3, chars_to_tokenize=700, chunk_size=90, **small)
    @example(**endless, **small)
    @given(
        documents=DOCUMENTS,
        seq_length=st.integers(1, 40),
        min_sample_length=st.integers(0, 60),
        max_dump_size=st.integers(1, 8),
        starting_character=st.integers(0, 300),
        chars_to_tokenize=st.integers(1, 4000),
        chunk_size=st.integers(1, 900),
        row_group_size=st.integers(1, 5),
    )
    def compare(documents: list[str | None], row_group_size: int, **switches: int) -> None:
        assume(any(documents))  # only empty documents: refused, where the reference has blanks
        switches["pad_token"] = PAD_ID
        num_chars = min(switches["chars_to_tokenize"], 200 * switches["chunk_size"])
        switches["chars_to_tokenize"] = num_chars  # a chunk takes some milliseconds
        wanted = Settings(tokenizer_base=str(tokenizer_folder), **switches)
        with TemporaryDirectory() as temporary:
            target, corpus = Path(temporary) / "dataset", Path(temporary) / "c.parquet"
            scenario.write_parquet(corpus, documents, row_group_size=row_group_size)
            if not reference_shards(documents, tokenizer_folder, switches):
                with pytest.raises(CodedataError):
                    tokenize_data(corpus, target, wanted, num_workers=1)
                assert os.listdir(temporary) in (["c.parquet"], [".dataset.codedata", "c.parquet"])
                return
            tokenize_data(corpus, target, wanted, num_workers=1)
            assert_is_reference(target, documents, tokenizer_folder, switches)
            assert sorted(os.listdir(temporary)) == ["c.parquet", "dataset"]

    compare()


def test_the_command_line_gives_the_same_with_several_workers(
    corpus: Path, documents: list[str], tokenizer_folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "dataset"
    switches = {
        "min_sample_length": 10, "seq_length": 64, "max_dump_size": 50, "pad_token": PAD_ID,
        "starting_character": 1000, "chars_to_tokenize": 100_000, "chunk_size": 30_000,
    }  # fmt: skip
    given = {"data_file": corpus, "tokenization_folder": target, **switches}
    given["tokenizer_base"] = tokenizer_folder
    done = run(command([f"--{name}={value}" for name, value in given.items()]))
    assert done.returncode == 0, done.stderr
    assert_is_reference(target, [*documents], tokenizer_folder, switches)
    expected = reference_shards([*documents], tokenizer_folder, switches)
    num_samples = sum(len(samples) for samples, _ in expected)
    assert f"Wrote {len(expected)} files to {target}" in done.stdout
    assert f"Total samples: {num_samples}\nTotal tokens: {num_samples * 64}\n" in done.stdout
    assert "Tokenizing dataset: 4 of 4 chunks, " in done.stderr, "it is told how far it is"


def test_the_switches_and_defaults_are_those_of_the_settings() -> None:
    given = vars(build_parser().parse_args(["--data_file", "f", "--tokenization_folder", "d"]))
    names = Settings().as_dict().keys()
    defaults = {name: value for name, value in given.items() if name in names}
    assert {"pad_token", *defaults} == names
    assert "pad_token" not in given, "so that one that was named is told from the default"
    assert Settings(**defaults) == Settings()


def test_a_file_that_is_missing_is_refused_before_the_hub_is_asked_for_a_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--data_file", str(tmp_path / "nope"), "--tokenization_folder", str(tmp_path / "d")]
    assert run_here([*places, "--tokenizer_base", "owner/name"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"{tmp_path}/nope" in line
    assert "owner/name" not in line


def test_a_refusal_is_one_line_and_leaves_the_old_dataset(
    switches: list[str],
    target: Path,
    tokenizer_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}
    lossy = json.loads((tokenizer_folder / "tokenizer.json").read_bytes()) | {
        "pre_tokenizer": spaces  # as some releases of transformers rebuilt deepseek-coder
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(lossy), encoding="utf-8")
    before = contents(target)
    for wrong, message in {
        ("--pad_token", "99999"): "pad_token 99999 is not in the",
        ("--starting_character", "999999999"): "starting_character is 999999999, but the text of",
        ("--min_sample_length", "90000"): "give no sample",
        ("--tokenizer_base", str(tmp_path)): f"the tokenizer {tmp_path} loses ",
    }.items():
        capsys.readouterr()
        assert run_here([*switches, *wrong]) == 1
        last_line = capsys.readouterr().err.splitlines()[-1]
        assert last_line.startswith("tokenize_data: error: ")
        assert message in last_line
        assert contents(target) == before


def test_chunks_of_an_earlier_run_are_reused_but_not_those_of_another_tokenizer_or_parquet(
    corpus: Path, documents: list[str], tokenizer_folder: Path, tmp_path: Path
) -> None:
    """Chunks stay where a run is interrupted, and where it gives no sample."""
    target = tmp_path / "dataset"
    switches = {
        "min_sample_length": 10, "seq_length": 64, "max_dump_size": 50, "pad_token": PAD_ID,
        "starting_character": 0, "chars_to_tokenize": 50_000, "chunk_size": 10_000,
    }  # fmt: skip

    def make(parquet: Path, tokenizer: Path = tokenizer_folder, **changed: int) -> None:
        wanted = Settings(tokenizer_base=str(tokenizer), **{**switches, **changed})
        tokenize_data(parquet, target, wanted, num_workers=1)

    def stored(tokenizer: Path = tokenizer_folder) -> dict[str, int]:
        with pytest.raises(CodedataError, match="give no sample"):
            make(corpus, tokenizer, min_sample_length=50_000)
        return finished_chunks(target)

    before = stored()
    assert len(before) == 5
    assert stored() == before, "none was made again"
    others: list[str | None] = [*documents[::-1]]
    make(scenario.write_parquet(tmp_path / "other.parquet", others))
    assert_is_reference(target, others, tokenizer_folder, switches)
    assert len(stored(tokenizer_folder / "tokenizer.json")) == 5
    make(corpus)
    assert_is_reference(target, [*documents], tokenizer_folder, switches)


def test_the_same_inputs_in_other_folders_give_the_same_facts_and_card_which_name_no_folder(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[bytes] = []
    for place in (tmp_path / "home of ada", tmp_path / "bob"):
        (place / "in").mkdir(parents=True)
        shutil.copy(corpus, place / "in" / "c.parquet")
        shutil.copytree(tokenizer_folder, place / "tok")
        monkeypatch.chdir(place / "tok")
        inputs = ["--tokenizer_base", "." if place.name == "bob" else str(place / "tok")]
        target = place / "out" / "set"
        options = [*inputs, "--pad_token", str(PAD_ID), "--seq_length", "64"]
        folders = ["--data_file", str(place / "in" / "c.parquet"), "--tokenization_folder"]
        assert main([*folders, str(target), *options]) == 0
        texts.append(b"".join((target / name).read_bytes() for name in scenario.TEXTS))
    assert texts[0] == texts[1]
    assert str(tmp_path).encode() not in texts[0]
    command = b"--data_file c.parquet --tokenization_folder set --tokenizer_base tok"
    assert texts[0].count(command) == 2


def test_all_characters_may_be_asked_for_and_other_words_may_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = ["--data_file", "a.parquet", "--tokenization_folder", "set", "--chars_to_tokenize"]
    assert build_parser().parse_args([*named, "all"]).chars_to_tokenize == "all"
    with pytest.raises(SystemExit):
        build_parser().parse_args([*named, "every"])
    assert "'every' is not a whole number; write its digits alone, as in 1536, or all" in (
        capsys.readouterr().err
    )
