"""The tokenizer that a Trainer is given, tried on the text whose ids a dataset's facts state."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Subset
from transformers import AutoTokenizer, PreTrainedTokenizerFast, default_data_collator
from transformers import __version__ as transformers_version

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME, Probe
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.engines.base import reference_ids
from codedata.tokenize.probe import PROBE, PROBE_SHA256
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata.training.probe import require_same_tokenizer
from codedata_tests import scenario
from codedata_tests.script_runs import PAD_ID, run_here
from codedata_tests.training.tiny_trainer import tiny_trainer


@pytest.fixture(scope="module")
def by_script(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A dataset as the script makes it, by a tokenizer whose config asks for BOS."""
    folder = tmp_path_factory.mktemp("by_script") / "set"
    switches = ["--data_file", str(corpus), "--tokenization_folder", str(folder)]
    switches += ["--tokenizer_base", str(tokenizer_folder), "--pad_token", str(PAD_ID)]
    switches += ["--chars_to_tokenize", "20000", "--seq_length", "64", "--min_sample_length", "0"]
    assert run_here(switches) == 0
    return folder


@pytest.fixture
def folder(by_script: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(by_script, tmp_path / "set"))


def rebuilt(tokenizer_folder: Path, tmp_path: Path, tokenizer_class: str) -> Any:
    """What AutoTokenizer makes of the same tokenizer.json, its config naming a class."""
    again = tmp_path / tokenizer_class
    again.mkdir()
    (again / "tokenizer.json").write_bytes((tokenizer_folder / "tokenizer.json").read_bytes())
    config = json.loads((tokenizer_folder / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = tokenizer_class
    (again / "tokenizer_config.json").write_text(json.dumps(config))
    return AutoTokenizer.from_pretrained(str(again))


def train(dataset: Any, tokenizer: Any, output: Path) -> None:
    keep: Any = default_data_collator  # else one that wants a pad token
    options: dict[str, Any] = {"max_steps": 1, "save_strategy": "no"}
    tiny_trainer(dataset, output, collator=keep, tokenizer=tokenizer, **options).train()


def probe_of(folder: Path) -> Probe:
    """What the facts of a dataset say of its tokenizer."""
    facts = open_dataset(folder).facts
    assert facts is not None
    assert facts.tokenizer.probe is not None
    return facts.tokenizer.probe


def test_the_script_s_facts_have_the_framed_ids_of_the_probe(
    folder: Path, tokenizer_folder: Path
) -> None:
    loaded = load_tokenizer(find_tokenizer(str(tokenizer_folder)))
    ids = reference_ids(loaded, PROBE)
    assert ids[0] == loaded.bos_id
    assert probe_of(folder) == Probe(text_sha256=PROBE_SHA256, ids=tuple(ids))
    open_dataset(folder, verify=True)


def test_a_tokenizer_that_transformers_rebuilds_otherwise_is_refused_before_a_step(
    folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    wrong = rebuilt(tokenizer_folder, tmp_path, "GPT2Tokenizer")
    dataset = PickledTrainerDataset(folder, quiet=True)
    for given in (dataset, Subset(dataset, [0, 1]), ConcatDataset([dataset[:1], dataset])):
        with pytest.raises(DatasetError) as refusal:
            train(given, wrong, tmp_path / "run")
        assert str(refusal.value).startswith(
            f"{folder} was not made with the tokenizer that the Trainer was given (GPT2Tokenizer, "
            f"transformers {transformers_version}): from id "
        )
        assert "PreTrainedTokenizerFast(tokenizer_file='tokenizer.json')" in str(refusal.value)


def test_the_right_one_trains_and_another_framing_is_a_line_in_the_log(
    folder: Path, tokenizer_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = PickledTrainerDataset(folder, quiet=True)
    without_bos = rebuilt(tokenizer_folder, tmp_path, "PreTrainedTokenizerFast")
    [bos, *text] = probe_of(folder).ids
    assert without_bos(PROBE)["input_ids"] == text
    with caplog.at_level(logging.INFO, "codedata"):
        train(dataset, without_bos, tmp_path / "run")
    assert f"{folder} has [{bos}] before and [] after each chunk" in caplog.text


def test_a_tokenizer_that_frames_as_the_dataset_s_says_nothing_and_one_lost_id_is_a_difference(
    tokenizer_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_folder / "tokenizer.json"))
    ids = list(fast(PROBE)["input_ids"])
    with caplog.at_level(logging.INFO, "codedata"):
        require_same_tokenizer(Probe(text_sha256=PROBE_SHA256, ids=tuple(ids)), fast, Path("set"))
    assert not caplog.records
    for lost in (0, 40, len(ids) - 1):
        probe = Probe(text_sha256=PROBE_SHA256, ids=(*ids[:lost], *ids[lost + 1 :]))
        with pytest.raises(DatasetError, match=f"from id {lost} of"):
            require_same_tokenizer(probe, fast, Path("set"))


def test_nothing_is_said_without_a_tokenizer_or_a_probe_of_this_dataset(
    folder: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    wrong = rebuilt(tokenizer_folder, tmp_path, "GPT2Tokenizer")
    probe = probe_of(folder)
    require_same_tokenizer(replace(probe, text_sha256="0" * 64), wrong, folder)
    require_same_tokenizer(probe, object(), folder)
    dataset = PickledTrainerDataset(folder, quiet=True)
    train(dataset, None, tmp_path / "run")
    without = scenario.write_dataset(tmp_path / "other", [np.ones((2, 4), int)])
    train(PickledTrainerDataset(without, quiet=True), wrong, tmp_path / "run")
    (without / FACTS_NAME).write_bytes((folder / FACTS_NAME).read_bytes())
    train(PickledTrainerDataset(without, quiet=True), wrong, tmp_path / "run")
    card = folder / CARD_NAME
    card.write_bytes(card.read_bytes().replace(b"license: other", b"license: mit"))
    with pytest.raises(DatasetError, match="was not made with the tokenizer that the Trainer was"):
        train(PickledTrainerDataset(folder, quiet=True), wrong, tmp_path / "run")
