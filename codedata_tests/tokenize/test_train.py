"""The tokenizer that the demo trains: its special ids, its structure, and that it is the same."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.fidelity import PROBE, check_fidelity
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata.tokenize.train import (
    BOS_ID,
    BOS_TOKEN,
    PAD_ID,
    PAD_TOKEN,
    save_tokenizer,
    train_tokenizer,
)
from codedata_tests import plain_reference, scenario

VOCAB_SIZE = 500


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train_tokenizer(iter(scenario.c_documents(40, seed=1)), VOCAB_SIZE)


@pytest.fixture(scope="module")
def saved(trained: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "deep" / "tokenizer"
    save_tokenizer(trained, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(saved: Path) -> LoadedTokenizer:
    return load_tokenizer(find_tokenizer(str(saved)))


def test_bos_is_0_and_pad_is_1_in_a_vocabulary_of_the_size_asked_for(trained: Tokenizer) -> None:
    assert (BOS_ID, PAD_ID) == (0, 1)
    assert [trained.id_to_token(token_id) for token_id in (0, 1)] == [BOS_TOKEN, PAD_TOKEN]
    assert sorted(trained.get_vocab().values()) == list(range(VOCAB_SIZE))


def test_every_byte_has_a_token_of_its_own(trained: Tokenizer) -> None:
    """Those that the texts hold nowhere too: the smallest vocabulary is 2 + 256 tokens."""
    smallest = train_tokenizer(iter(["a"]), 258)
    assert smallest.get_vocab_size() == 258
    text = "".join(map(chr, range(1, 0x800))) + "中🙂\U0010ffff"
    assert len(smallest.encode(text).ids) == len(text.encode())
    for tokenizer in (smallest, trained):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    merged = scenario.c_documents(1, seed=2)[0]
    assert len(trained.encode(merged).ids) < len(merged.encode()) / 2, "merges were learnt"


def test_the_same_texts_give_the_same_tokenizer(trained: Tokenizer) -> None:
    for seed, same in ((1, True), (3, False)):
        again = train_tokenizer(iter(scenario.c_documents(40, seed=seed)), VOCAB_SIZE)
        assert (again.to_str() == trained.to_str()) == same


def test_the_pre_tokenizer_is_that_of_deepseek_coder(trained: Tokenizer) -> None:
    like = scenario.train_tokenizer(scenario.deepseek_like())
    ours, theirs = (json.loads(each.to_str())["pre_tokenizer"] for each in (trained, like))
    assert ours == theirs


def test_the_saved_folder_loads_with_bos_first_and_is_the_same_when_saved_again(
    saved: Path, loaded: LoadedTokenizer, trained: Tokenizer
) -> None:
    names = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in saved.iterdir()) == names
    assert (loaded.bos_id, loaded.eos_id, loaded.vocab_size) == (BOS_ID, None, VOCAB_SIZE)
    save_tokenizer(trained, saved)
    assert find_tokenizer(str(saved)).fingerprint == loaded.files.fingerprint


def test_the_fast_engine_is_exact_for_it_and_it_keeps_the_text(
    saved: Path, loaded: LoadedTokenizer, trained: Tokenizer
) -> None:
    engine = choose_engine(loaded)
    assert engine.name == "pretokens"
    sample = "\n".join(scenario.c_documents(20, seed=5))
    check_fidelity(loaded, engine, sample)
    for text in (PROBE, sample):
        ids = engine.encode(as_utf8(text)).ids.tolist()
        assert ids == [BOS_ID, *trained.encode(text).ids]
        assert ids == plain_reference.reference_ids(saved, text)
        assert loaded.tokenizer.decode(ids, skip_special_tokens=False) == BOS_TOKEN + text
