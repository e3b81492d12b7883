"""What a split takes and what its partitions are where its YAML does not say: chosen once, kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codedata.components import DatasetSplit, RawCorpus
from codedata.components.split_partitions import record_partitions, recorded_partitions
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SplitSpec
from codedata.errors import SettingsError
from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.recipe.settings import Settings
from codedata.run.checks import KNOWN_REPO


@pytest.fixture(autouse=True)
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path))
    return Layout(tmp_path)


def corpus(num_files: int) -> RawCorpus:
    path = f"/c-{{0..{num_files - 1}}}.parquet" if num_files > 1 else "/c.parquet"
    return RawCorpus(name="c", source={"kind": "local", "path": path})


def split(**fields: object) -> DatasetSplit:
    return DatasetSplit.model_validate({"name": "s", "corpus": "c", **fields})


def test_what_is_left_out_is_all_and_of_the_reference_s_corpus_what_its_script_takes() -> None:
    assert split().settings_of(corpus(3)).window.is_open
    assert split().files_of(corpus(3)) == (0, 1, 2)
    assert split().partitions_of(corpus(1)) == "file"
    stack = RawCorpus(
        name="c", source={"kind": "hub", "repo": KNOWN_REPO, "path": "c-{0..2}.parquet"}
    )
    for reference in (stack, None):
        assert split(files=0).settings_of(reference).chars_to_tokenize == 100_000_000
        assert split(files=0).partitions_of(reference) == "chunk"
    with pytest.raises(SettingsError, match="does not say which files"):
        split().files_of(stack)


@pytest.mark.parametrize(("num_files", "partitions"), [(99, "chunk"), (100, "file")])
def test_the_files_decide_once_and_more_of_them_change_nothing(
    num_files: int, partitions: str, layout: Layout
) -> None:
    assert split(chars_to_tokenize=7).partitions_of(corpus(num_files)) == partitions
    record_partitions(layout, "s", split(chars_to_tokenize=7).partitions_of(corpus(num_files)))
    assert split(chars_to_tokenize=7).partitions_of(corpus(1000)) == partitions
    assert split(chars_to_tokenize=7).partitions_of(corpus(1)) == partitions
    other = {"file": "chunk", "chunk": "file"}[partitions]
    said = split(chars_to_tokenize=7, partitions=other)
    assert said.partitions_of(corpus(num_files)) == other, "as it is written"


def test_a_split_that_was_made_before_there_was_a_choice_stays_as_it_was(layout: Layout) -> None:
    chunk = layout.chunks("s") / "00000" / "0000000000-0000000007.arrow"
    chunk.parent.mkdir(parents=True)
    chunk.touch()
    assert split(chars_to_tokenize=7).partitions_of(corpus(1000)) == "chunk"
    assert split().partitions_of(corpus(1)) == "chunk"
    assert split().settings_of(corpus(1)).chars_to_tokenize == 100_000_000
    assert split(chars_to_tokenize="all").partitions_of(corpus(1)) == "file", "as it is written"


def test_a_variable_for_one_run_does_not_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEDATA_S_CHARS_TO_TOKENIZE", "7")
    assert split().settings_of(corpus(1)).chars_to_tokenize == 7
    assert split().partitions_of(corpus(1)) == "file"
    monkeypatch.setenv("CODEDATA_S_CHARS_TO_TOKENIZE", "all")
    assert split(chars_to_tokenize=7).settings_of(corpus(1)).window.is_open


def test_chunks_of_all_characters_are_no_partitions() -> None:
    with pytest.raises(SettingsError) as refused:
        split(partitions="chunk", chars_to_tokenize="all").partitions_of(corpus(1))
    assert str(refused.value) == (
        "split 's' has partitions: chunk, but takes all characters of texts that may not be here "
        "yet; write partitions: file, or chars_to_tokenize as a number"
    )


@pytest.mark.parametrize("takes", [100, "all"])
def test_the_chunks_of_a_split_are_those_of_its_windows_and_the_last_one_of_a_text(
    takes: int | str,
) -> None:
    switches: dict[str, Any] = {"chars_to_tokenize": takes, "chunk_size": 40}
    settings = Settings(starting_character=5, **switches)
    spec = SplitSpec(
        name="s",
        parts=(SplitPart(corpus="c", window=settings.window, files=(0, 2), corpus_files=3),),
        tokenizer_asset=None,
        settings=settings,
        held_out_from={},
        description="",
        partitions="file",
    )
    assert spec.has_chunk(CharRange(45, 85), num_chars=1000)
    assert spec.has_chunk(CharRange(85, 90), num_chars=90)
    assert spec.has_chunk(CharRange(85, 90), num_chars=None), "its text may end there"
    assert not spec.has_chunk(CharRange(85, 90), num_chars=1000)
    assert not spec.has_chunk(CharRange(44, 84), num_chars=1000)
    assert not spec.has_chunk(CharRange(45, 85, file=1), num_chars=1000)
    assert spec.has_chunk(CharRange(125, 165), num_chars=1000) is (takes == "all")
    assert spec.partition_of(CharRange(85, 90, file=2)) == "00002"
    chunked = replace(spec, partitions="chunk")
    assert chunked.partition_of(CharRange(85, 90, file=2)) == (
        "00002/0000000085-0000000105" if takes == 100 else "00002/0000000085-0000000125"
    )


def test_a_record_that_says_nothing_is_named(layout: Layout) -> None:
    record = layout.chunks("s") / "partitions.json"
    record.parent.mkdir(parents=True)
    for text in ("", "[]", '{"partitions": "files"}'):
        record.write_text(text)
        with pytest.raises(SettingsError, match=r"partitions.json does not say .* remove it"):
            recorded_partitions(layout, "s")
