"""What a dataset says beside its samples: its tokenizer, ids, card, and itself in one line."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import __version__ as transformers_version

import codedata
from codedata.errors import DatasetError, TokenizerError
from codedata.format.facts import Probe
from codedata.format.meta import META_NAME
from codedata.layout import ROOT_VARIABLE
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.store.object_store import ObjectStore
from codedata.tokenize.probe import HOSTILE, PROBE, PROBE_SHA256
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

TEXT = " ".join([PROBE, HOSTILE, *scenario.c_documents(4, seed=5)])
PAD_ID, EOT_ID, NUM_IDS = 534, 535, 536


@pytest.fixture(scope="module")
def by_build(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_build") / "set"
    switches: dict[str, Any] = {"seq_length": 64, "min_sample_length": 0, "pad_token": scenario.PAD}
    codedata.build(
        scenario.c_documents(5), folder, tokenizer_base=str(tokenizer_folder), **switches
    )
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root without tokenizers, and no note of where any was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    return tmp_path


def opened(*folders: Path | str) -> PickledTrainerDataset:
    return PickledTrainerDataset(folders, quiet=True)


def named(folder: Path, tokenizer: Path, source: str = "mine", **more: Any) -> Path:
    """A dataset folder whose facts name a tokenizer."""
    sha256 = find_tokenizer(str(tokenizer)).fingerprint
    scenario.write_dataset(folder, [[[1, 2, 3, 4]]])
    return scenario.write_facts(folder, source, sha256=sha256, **more)


def exact(folder: Path) -> Tokenizer:
    """What the tokenizers library makes of a folder's tokenizer.json."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def test_the_tokenizer_is_the_one_that_made_the_samples_and_its_tokens_are_theirs(
    by_build: Path, tokenizer_folder: Path
) -> None:
    dataset = opened(by_build)
    for special in (True, False):
        ids = exact(tokenizer_folder).encode(TEXT, add_special_tokens=special).ids
        assert dataset.tokenizer(TEXT, add_special_tokens=special)["input_ids"] == ids
    assert dataset.tokenizer is dataset.tokenizer
    assert dataset[:2].tokenizer is dataset.tokenizer
    assert dataset.vocab_size == len(dataset.tokenizer) == NUM_IDS
    assert dataset.pad_token_id == dataset.tokenizer.pad_token_id == PAD_ID
    assert dataset.eos_token_id is dataset.tokenizer.eos_token is None, "the config names none"
    assert dataset.tokenizer.bos_token == scenario.BOS
    text = dataset.tokenizer.decode(dataset[0]["input_ids"][1:])
    assert scenario.c_documents(1)[0].startswith(str(text))
    assert dataset.card == (by_build / "README.md").read_text(encoding="utf-8")


def test_a_recipe_says_what_ends_a_document_and_not_the_tokenizer_s_config(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(tokenizer_folder, tmp_path / "own"))
    config = {
        "eos_token": scenario.BOS,
        "pad_token": scenario.BOS,
        "chat_template": "{{ 'hello' }}",
    }
    (own / "tokenizer_config.json").write_text(json.dumps(config))
    switches: dict[str, Any] = {
        "seq_length": 64,
        "pad_token": scenario.PAD,
        "tokenizer_base": str(own),
    }
    recipe = {"documents": {"eos": scenario.EOT}}
    codedata.build(scenario.c_documents(3), tmp_path / "set", recipe=recipe, **switches)
    dataset = opened(tmp_path / "set")
    assert dataset.eos_token_id == dataset.tokenizer.eos_token_id == EOT_ID
    assert dataset.pad_token_id == dataset.tokenizer.pad_token_id == PAD_ID
    assert dataset.tokenizer.bos_token is None
    assert dataset.tokenizer.chat_template == "{{ 'hello' }}"


def test_ids_with_gaps_need_more_rows_than_there_are_tokens_and_no_token_of_text_becomes_special(
    nowhere: Path,
) -> None:
    """One that was made special would be found in text before any merge is made."""
    vocab = {"a": 0, "b": 1, "ab": 5, "aab": 90}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("a", "b"), ("a", "ab")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_tokens([AddedToken("<end>")])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    config = {"bos_token": "ab", "eos_token": {"content": "<end>"}}
    folder = scenario.save_tokenizer(tokenizer, nowhere / "root" / "tokenizers" / "mine", **config)
    dataset = opened(named(nowhere / "set", folder, switches={"pad_token": 1}))
    last = max(tokenizer.get_vocab().values())
    assert dataset.vocab_size == 1 + max(90, last) > len(dataset.tokenizer)
    assert dataset.eos_token_id == dataset.tokenizer.eos_token_id == tokenizer.token_to_id("<end>")
    assert dataset.pad_token_id == 1
    assert dataset.tokenizer.pad_token is dataset.tokenizer.bos_token is None
    for text in ("aab aab", "ab<end>b"):
        ids = exact(folder).encode(text).ids
        assert dataset.tokenizer(text, truncation=False)["input_ids"] == ids


def in_hub_cache(tokenizer: Path, _: Path) -> dict[str, Any]:
    commit = "e" * 40
    snapshots = Path(constants.HF_HUB_CACHE) / "models--me--described" / "snapshots"
    shutil.copytree(tokenizer, snapshots / commit)
    return {"source": "me/described@v1", "revision": commit}


def trained(tokenizer: Path, root: Path) -> dict[str, Any]:
    shutil.copytree(tokenizer, root / "tokenizers" / "mine")
    return {}


def where_it_was(tokenizer: Path, _: Path) -> dict[str, Any]:
    return {"source": str(tokenizer)}


@pytest.mark.parametrize("place", [in_hub_cache, trained, where_it_was])
def test_the_tokenizer_is_found_by_what_the_facts_pin(
    place: Callable[[Path, Path], dict[str, Any]], tokenizer_folder: Path, nowhere: Path
) -> None:
    known = place(tokenizer_folder, nowhere / "other")
    folder = named(nowhere / "other" / "datasets" / "set", tokenizer_folder, **known)
    assert opened(folder).vocab_size == NUM_IDS, (
        "beside the dataset, which is not below CODEDATA_ROOT"
    )
    assert opened(folder).tokenizer(PROBE)["input_ids"] == exact(tokenizer_folder).encode(PROBE).ids


def test_under_a_url_the_tokenizer_comes_from_the_store_that_has_the_dataset(
    tokenizer_folder: Path, nowhere: Path
) -> None:
    store = ObjectStore("memory://described")
    own = Path(shutil.copytree(tokenizer_folder, nowhere / "own"))
    store_tokenizer(store, find_tokenizer(str(own)))
    folder = named(nowhere / "set", own)
    for path in folder.iterdir():
        store.put(f"datasets/set/{path.name}", path.read_bytes())
    shutil.rmtree(own)
    assert opened("memory://described/datasets/set").vocab_size == NUM_IDS
    store.remove(store.list())


def test_one_that_is_gone_is_named_with_what_to_do_and_taken_from_a_folder_if_it_is_the_one(
    tokenizer_folder: Path, nowhere: Path
) -> None:
    folder = named(nowhere / "set", tokenizer_folder)
    dataset = opened(folder)
    sha256 = find_tokenizer(str(tokenizer_folder)).fingerprint
    for ask in (
        lambda: dataset.tokenizer,
        lambda: dataset.vocab_size,
        lambda: dataset.eos_token_id,
    ):
        with pytest.raises(DatasetError) as refusal:
            ask()
        assert str(refusal.value).startswith(f"{folder}: tokenizer mine that made 'set' (sha256 ")
        assert "dataset.load_tokenizer(FOLDER)" in str(refusal.value)
    other = Path(shutil.copytree(tokenizer_folder, nowhere / "other"))
    (other / "tokenizer_config.json").unlink()
    with pytest.raises(DatasetError, match=rf"{other} is another .* than mine \(sha256 {sha256}\)"):
        dataset.load_tokenizer(other)
    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json"):
        dataset.load_tokenizer(nowhere)
    assert dataset.load_tokenizer(tokenizer_folder) is dataset.tokenizer
    assert dataset[:1].vocab_size == NUM_IDS
    sent = pickle.dumps(dataset)
    assert len(sent) < 1000, "no tokenizer goes to a worker"
    with pytest.raises(DatasetError, match="load_tokenizer"):
        _ = pickle.loads(sent).tokenizer


def test_of_the_old_script_nothing_is_known_and_each_message_says_what_to_do(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    dataset = opened(scenario.write_dataset(tmp_path / "set", [[[1, 2, 3, 4]]]))
    with pytest.raises(DatasetError, match=r"set does not say which tokenizer .*load_tokenizer\("):
        _ = dataset.vocab_size
    with pytest.raises(DatasetError, match="set does not say which token fills up its samples"):
        _ = dataset.pad_token_id
    assert dataset.card is None
    assert dataset.load_tokenizer(tokenizer_folder)("int")["input_ids"]
    assert dataset.vocab_size == NUM_IDS


def test_a_release_that_rebuilds_the_tokenizer_otherwise_is_refused(
    tokenizer_folder: Path, nowhere: Path
) -> None:
    ids = exact(tokenizer_folder).encode(PROBE).ids
    probe = Probe(text_sha256=PROBE_SHA256, ids=(*ids[:7], 1, *ids[8:]))
    folder = named(nowhere / "set", tokenizer_folder, str(tokenizer_folder), probe=probe)
    with pytest.raises(DatasetError) as refusal:
        _ = opened(folder).tokenizer
    assert str(refusal.value).startswith(f"transformers {transformers_version} makes another ")
    assert "from id 7 of" in str(refusal.value)


def test_several_folders_have_one_pad_token_or_none_that_could_be_named(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    folders = [
        named(tmp_path / str(pad), tokenizer_folder, switches={"pad_token": pad}) for pad in (7, 8)
    ]
    assert opened(folders[0], folders[0]).pad_token_id == 7
    cards = opened(*folders).card
    assert cards is not None
    assert cards.count("license: other") == 2
    with pytest.raises(DatasetError, match=r"are padded with \[7, 8\]"):
        _ = opened(*folders).pad_token_id


def test_a_dataset_says_in_one_line_what_it_is_and_reads_nothing_for_it(tmp_path: Path) -> None:
    a = scenario.write_dataset(
        tmp_path / "a", [[[1, 2]] * 1000, [[3, 4]] * 234], last_sample_tokens=[2, 1]
    )
    digest = opened(a).digest
    b = scenario.write_dataset(tmp_path / "b", [[[5, 6]]], last_sample_tokens=[1])
    dataset = opened(a)
    assert repr(dataset) == (
        f"PickledTrainerDataset('{a}': 1,234 samples of 2 tokens, padding in labels, "
        f"digest {digest[:12]}...)"
    )
    part = opened(a, b).with_padding_masked()[:1001]
    assert repr(part) == (
        f"PickledTrainerDataset('{a}' and 1 more: 1,001 of 1,235 samples of 2 tokens, padding "
        f"masked, digest {part.digest[:12]}...)"
    )
    documents = opened(scenario.write_document_dataset(tmp_path / "documents"))
    assert ", padding in labels, documents, digest " in repr(documents)
    meta = json.loads((b / META_NAME).read_text())
    (b / META_NAME).write_text(
        json.dumps(
            {name: {k: v[k] for k in ("num_samples", "num_tokens")} for name, v in meta.items()}
        )
    )
    old = opened(b)
    assert repr(old).endswith(": 1 samples of 2 tokens, padding in labels)")
    assert "content_digest" not in vars(old.datasets[0]), "which takes all ids"
