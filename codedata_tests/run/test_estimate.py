"""What a run would take: as much as it then does, from stored chunks or from some of the text."""

from dataclasses import replace
from pathlib import Path

import pytest

from codedata.errors import SettingsError
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run import estimate as estimating
from codedata.run.estimate import estimate, finished, guess, require_few_shards
from codedata.run.plan import Plan, open_plan
from codedata.run.tokenize import tokenize_chunk
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

SETTINGS = Settings(
    pad_token=0, seq_length=64, min_sample_length=0, chars_to_tokenize=10**9, chunk_size=60_000
)


@pytest.fixture
def plan(corpus: Path, tokenizer_folder: Path) -> Plan:
    files = find_tokenizer(str(tokenizer_folder))
    return open_plan({0: ParquetText(corpus)}, SETTINGS, files)


def test_the_estimate_is_what_the_run_then_makes(plan: Plan, tmp_path: Path) -> None:
    tasks = plan.tasks(lambda _: LocalChunks(tmp_path))
    before = estimate(plan, finished(tasks), threads=1)
    chunks = [tokenize_chunk(task) for task in tasks]
    num_tokens = sum(chunk.num_tokens for chunk in chunks)
    num_samples = sum(SETTINGS.count_samples(chunk.num_tokens) for chunk in chunks)
    assert before.num_tokens == pytest.approx(num_tokens, rel=0.05)
    assert before.num_samples == pytest.approx(num_samples, rel=0.05)
    stored_bytes = sum(Path(chunk.where).stat().st_size for chunk in chunks)
    assert before.num_bytes >= stored_bytes + num_samples * SETTINGS.seq_length * 2
    assert before.seconds > 0

    half = finished(tasks[: len(tasks) // 2])
    assert len(half) == len(tasks) // 2
    assert 0 < estimate(plan, half, threads=1).num_bytes < before.num_bytes

    after = estimate(plan, finished(tasks), threads=1)
    assert (after.num_tokens, after.seconds) == (num_tokens, 0)


def test_more_threads_than_chunks_are_of_no_use(plan: Plan, tmp_path: Path) -> None:
    tasks = plan.tasks(lambda _: LocalChunks(tmp_path))
    all_but_one = [tokenize_chunk(task) for task in tasks[1:]]
    alone = estimate(plan, all_but_one, threads=1)
    assert alone.seconds == estimate(plan, all_but_one, threads=8).seconds > 0


def test_more_chunks_than_there_may_be_shards_are_refused_before_any_is_made(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "MAX_SHARDS", len(plan.fingerprints))
    require_few_shards(plan)
    monkeypatch.setattr(estimating, "MAX_SHARDS", len(plan.fingerprints) - 1)
    with pytest.raises(SettingsError, match=r"of \d+ chunks .* larger chunk_size \(60000\)"):
        require_few_shards(plan)
    longer = replace(plan, settings=replace(plan.settings, min_sample_length=10**6))
    require_few_shards(longer)  # whose chunks give no sample


def test_of_documents_best_fit_drops_nothing_and_what_lies_beside_shards_takes_room(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, settings = find_tokenizer(str(tokenizer_folder)), replace(SETTINGS, min_sample_length=50)
    recipe = DocumentRecipe(eos=scenario.EOT)
    plan = open_plan({0: ParquetText(corpus)}, settings, files, recipe=recipe)
    before = estimate(plan, [], threads=1)
    chunks = [tokenize_chunk(task) for task in plan.tasks(lambda _: LocalChunks(tmp_path))]
    num_samples = sum(chunk.num_samples or 0 for chunk in chunks)
    assert before.num_samples == pytest.approx(num_samples, rel=0.05)
    without = estimate(replace(plan, recipe=None), [], threads=1)
    assert before.num_samples >= without.num_samples
    assert before.num_bytes > 1.01 * without.num_bytes
    guessed = guess(settings, [chunk.chars for chunk in chunks], files, recipe)
    assert guessed.num_bytes > guess(settings, [chunk.chars for chunk in chunks], files).num_bytes
    monkeypatch.setattr(estimating, "MAX_SHARDS", len(chunks) - 1)
    with pytest.raises(SettingsError, match=f"more than the {len(chunks) - 1} that a dataset may"):
        require_few_shards(plan)
