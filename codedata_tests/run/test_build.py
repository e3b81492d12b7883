"""`codedata.build`: what the script makes, from Python; checked before it is published."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codedata
from codedata import CodedataError, tokenize_data
from codedata.errors import CheckFailedError
from codedata.recipe.settings import Settings
from codedata.run import packing
from codedata.store.chunks import LocalChunks
from codedata_tests import scenario
from codedata_tests.script_runs import PAD_ID

SWITCHES = {
    "pad_token": PAD_ID,
    "seq_length": 32,
    "min_sample_length": 16,
    "max_dump_size": 50,
    "chars_to_tokenize": 40_000,
    "chunk_size": 15_000,
}


@pytest.fixture
def switches(tokenizer_folder: Path) -> dict[str, Any]:
    return {**SWITCHES, "tokenizer_base": str(tokenizer_folder)}


@pytest.fixture
def by_script(corpus: Path, switches: dict[str, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "script"
    tokenize_data.tokenize_data(corpus, folder, Settings(**switches), num_workers=1)
    return folder


def shards_and_counts(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.suffix in (".pkl", ".json")
    }


def test_a_parquet_gives_what_the_script_gives(
    corpus: Path, switches: dict[str, Any], by_script: Path, tmp_path: Path
) -> None:
    made = codedata.build(corpus, tmp_path / "built", **switches)
    assert shards_and_counts(made.folder) == shards_and_counts(by_script)
    assert made.num_samples == len(codedata.PickledTrainerDataset([made.folder], quiet=True)) > 100
    assert sorted(os.listdir(tmp_path)) == ["built", "script"]


@pytest.mark.parametrize("form", [list, iter], ids=["a list", "a generator"])
def test_texts_give_what_their_parquet_gives(
    form: Callable[[Iterable[str]], Iterable[str]],
    documents: list[str | None],
    switches: dict[str, Any],
    by_script: Path,
    tmp_path: Path,
) -> None:
    texts = form([text for text in documents if text is not None])
    made = codedata.build(texts, tmp_path / "built", **switches)
    assert shards_and_counts(made.folder) == shards_and_counts(by_script)
    assert sorted(os.listdir(tmp_path)) == ["built", "script"], "no parquet of theirs is left"
    assert "--data_file texts.parquet " in (made.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "there are no texts; give at least one"),
        (["int a;", None], "text 1 is of type NoneType; give str"),
        (["int a;", "\ud800"], "text 1 holds a lone surrogate at character 0"),
        ([""], "holds no text"),
    ],
    ids=["none", "no text", "a surrogate", "an empty one"],
)
def test_texts_that_give_nothing_are_refused_and_the_old_dataset_stays(
    texts: list[Any], said: str, switches: dict[str, Any], by_script: Path
) -> None:
    before = scenario.dataset_bytes(by_script)
    with pytest.raises(CodedataError, match=said):
        codedata.build(texts, by_script, **switches)
    assert scenario.dataset_bytes(by_script) == before


def test_switches_that_there_are_not_or_that_do_not_fit_are_named(
    corpus: Path, switches: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(CodedataError, match="seq_len is no switch; there are tokenizer_base, min_"):
        codedata.build(corpus, tmp_path / "d", seq_len=5)
    del switches["pad_token"]
    with pytest.raises(CodedataError, match="pad_token"):
        codedata.build(corpus, tmp_path / "d", **switches)


def lose_a_sample(patch: pytest.MonkeyPatch) -> None:
    real = packing.pack_samples
    patch.setattr(packing, "pack_samples", lambda *a, **k: real(*a, **k)[1:])


def invent_an_id(patch: pytest.MonkeyPatch) -> None:
    real = LocalChunks.put

    def write_wrong(self: LocalChunks, fingerprint: Any, ids: Any, **record: Any) -> Any:
        wrong = np.where(np.arange(len(ids)) == 7, 60_000, ids)
        return real(self, fingerprint, wrong, **record)

    patch.setattr(LocalChunks, "put", write_wrong)


@pytest.mark.parametrize(
    ("fault", "said"),
    [(lose_a_sample, "sample_counts: "), (invent_an_id, "token_ids: ids are 7 to 60000")],
)
def test_what_fails_a_check_is_not_published_by_the_script_either(
    fault: Callable[[pytest.MonkeyPatch], None],
    said: str,
    corpus: Path,
    switches: dict[str, Any],
    by_script: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = scenario.dataset_bytes(by_script)
    fault(monkeypatch)
    switches["seq_length"] = 48
    with pytest.raises(CheckFailedError, match=f"{said}.*; nothing was published"):
        tokenize_data.tokenize_data(corpus, by_script, Settings(**switches), num_workers=1)
    assert scenario.dataset_bytes(by_script) == before
