"""A plan: the whole run as one small value, cut into the tasks of its chunks."""

import pickle
from pathlib import Path

import pytest

from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings
from codedata.run.plan import Plan, open_plan
from codedata.run.tokenize import tokenize_chunk
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

SETTINGS = Settings(
    pad_token=0, starting_character=1_000, chars_to_tokenize=10**9, chunk_size=60_000
)


@pytest.fixture
def plan(corpus: Path, tokenizer_folder: Path) -> Plan:
    files = find_tokenizer(str(tokenizer_folder))
    return open_plan({0: ParquetText(corpus), 3: ParquetText(corpus)}, SETTINGS, files)


def test_each_file_s_window_ends_with_its_text_and_is_cut_into_chunks(
    plan: Plan, documents: list[str | None], tmp_path: Path
) -> None:
    length = len(scenario.plain_text(documents))
    tasks = plan.tasks(lambda file: LocalChunks(tmp_path / str(file)), threads=2)
    expected = [CharRange(1_000, length, file).cut(60_000) for file in (0, 3)]
    assert [task.chars for task in tasks] == [*expected[0], *expected[1]]
    assert {(task.chunks, task.chars.file) for task in tasks} == {
        (LocalChunks(tmp_path / str(file)), file) for file in (0, 3)
    }
    assert {task.threads for task in tasks} == {2}


def test_a_plan_travels_as_a_few_kilobytes_and_makes_the_same_chunks(
    plan: Plan, tmp_path: Path
) -> None:
    data = pickle.dumps(plan)
    assert len(data) < 5_000, "no text, no ids"
    there = pickle.loads(data)
    here = plan.tasks(lambda _: LocalChunks(tmp_path / "a"))[0]
    far = there.tasks(lambda _: LocalChunks(tmp_path / "b"))[0]
    assert here.fingerprint == far.fingerprint
    made, other = tokenize_chunk(here), tokenize_chunk(far)
    assert made.ids_sha256 == other.ids_sha256
