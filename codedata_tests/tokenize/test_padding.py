"""The pad token by name or id, and the default that nobody named: which tokenizers it fits."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import SettingsError
from codedata.recipe.settings import DEFAULT_PAD_TOKEN, Settings, pad_token_of
from codedata.run.plan import open_plan
from codedata.sources.parquet.text import ParquetText
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.padding import why_not_default, with_pad_id
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.script_runs import PAD_ID, lines, run_here


def save(folder: Path, structure: dict[str, Any], **config: Any) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(structure), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def large(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of one tokenizer of 32,100 tokens: 32014 is a word of text, or its added token."""
    path = tokenizer_folder / "tokenizer.json"
    structure = json.loads(path.read_text(encoding="utf-8"))
    vocab = structure["model"]["vocab"]
    vocab |= {token["content"]: token["id"] for token in structure["added_tokens"]}
    vocab |= {f"word{id_}": id_ for id_ in range(max(vocab.values()) + 1, 32_100)}
    folder = tmp_path_factory.mktemp("large")
    config = {"eos_token": {"content": scenario.EOT}, "pad_token": scenario.PAD}
    made = {"a word": save(folder / "word", structure, **config)}
    added = structure["added_tokens"][-1] | {"id": DEFAULT_PAD_TOKEN, "content": "<|end|>"}
    vocab["<|end|>"] = vocab.pop(f"word{DEFAULT_PAD_TOKEN}", DEFAULT_PAD_TOKEN)
    structure["added_tokens"].append(added)
    return made | {"an added token": save(folder / "added", structure)}


def loaded_of(folder: Path) -> LoadedTokenizer:
    return load_tokenizer(find_tokenizer(str(folder)))


def test_digits_are_an_id_and_all_else_is_a_name() -> None:
    written = ["32014", "-1", "<|pad|>", "1.5", ""]
    assert [pad_token_of(text) for text in written] == [32014, -1, "<|pad|>", "1.5", ""]


def test_a_name_becomes_the_id_and_an_id_stays(tokenizer_folder: Path) -> None:
    loaded = loaded_of(tokenizer_folder)
    for written in (scenario.PAD, PAD_ID):
        assert with_pad_id(Settings(pad_token=written), loaded).pad_token == PAD_ID
    word = loaded.tokenizer.id_to_token(300)
    assert word is not None
    assert with_pad_id(Settings(pad_token=word), loaded).pad_id == 300, "any token that is named"


def test_a_name_that_is_no_token_is_refused_with_those_spelt_alike(tokenizer_folder: Path) -> None:
    loaded = loaded_of(tokenizer_folder)
    with pytest.raises(SettingsError, match=r"pad_token '<\|pat\|>' is not in the vocabu") as found:
        with_pad_id(Settings(pad_token="<|pat|>"), loaded)
    assert f"'{scenario.PAD}' (id {PAD_ID})" in str(found.value)
    with pytest.raises(SettingsError, match=r"pad_token 99999 is not in the vocabulary .* or the"):
        with_pad_id(Settings(pad_token=99_999), loaded)
    with pytest.raises(SettingsError) as found:
        with_pad_id(Settings(pad_token="9" * 5000), loaded)
    assert len(str(found.value)) < 800


def test_the_default_fits_where_it_is_an_added_token_and_nowhere_else(
    large: dict[str, Path], tokenizer_folder: Path, tmp_path: Path
) -> None:
    assert why_not_default("t", loaded_of(large["an added token"])) is None
    assert why_not_default("t", loaded_of(large["a word"])) == (
        "pad_token is not named, and its default 32014 is 'word32014', a token of text, of t; name "
        f"the id of one of its tokens, or the token: its PAD token '{scenario.PAD}' (id {PAD_ID}), "
        f"its EOS token '{scenario.EOT}' (id {PAD_ID + 1})"
    )
    why = why_not_default("t", loaded_of(tokenizer_folder)) or ""
    assert why.startswith("pad_token is not named, and its default 32014 is not in the vocabulary")
    assert f"'{scenario.EOT}' (id {PAD_ID + 1})" in why, "no config names one: the last added ones"
    path = tokenizer_folder / "tokenizer.json"
    structure = json.loads(path.read_text(encoding="utf-8")) | {"added_tokens": []}
    why = why_not_default("t", loaded_of(save(tmp_path / "bare", structure))) or ""
    assert why.endswith("it has no special token; take one that occurs in no text")


def test_a_plan_is_refused_where_nobody_named_one(corpus: Path, large: dict[str, Path]) -> None:
    for which, folder in large.items():
        files, settings = find_tokenizer(str(folder)), Settings(tokenizer_base=str(folder))
        if which == "an added token":
            plan = open_plan({0: ParquetText(corpus)}, settings, files, pad_is_named=False)
            assert plan.settings.pad_id == DEFAULT_PAD_TOKEN
        else:
            with pytest.raises(SettingsError, match="is 'word32014', a token of text"):
                open_plan({0: ParquetText(corpus)}, settings, files, pad_is_named=False)


# The script


def test_the_script_takes_the_name_and_makes_what_the_id_makes(
    switches: list[str], target: Path, tmp_path: Path
) -> None:
    switches[switches.index("--pad_token") + 1] = scenario.PAD
    switches[3] = str(tmp_path / "named")
    assert run_here([*switches, "--seq_length", "50", "--max_dump_size", "30"]) == 0
    made = open_dataset(tmp_path / "named", verify=True)
    assert made.digest == open_dataset(target).digest
    facts = (tmp_path / "named" / "codedata.yaml").read_text(encoding="utf-8")
    assert re.search(rf"^ +pad_token: {PAD_ID}$", facts, re.MULTILINE), "the id alone is recorded"
    assert scenario.PAD not in facts


@pytest.mark.parametrize(("which", "warns"), [("a word", True), ("an added token", False)])
def test_the_script_keeps_its_default_and_warns_where_it_is_a_word(
    which: str,
    warns: bool,
    large: dict[str, Path],
    switches: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    switches[switches.index("--tokenizer_base") + 1] = str(large[which])
    place = switches.index("--pad_token")
    assert run_here(switches[:place] + switches[place + 2 :]) == 0
    said = [line for line in lines(capsys.readouterr().err) if "warning" in line]
    assert len(said) == warns
    if warns:
        assert said[0].startswith("tokenize_data: warning: pad_token is not named, and its default")
    [*_, last] = open_dataset(Path(switches[3])).shards
    assert last[-1, -1] == DEFAULT_PAD_TOKEN
    assert run_here([*switches[:place], "--pad_token", "32014", *switches[place + 2 :]]) == 0
    assert "warning" not in capsys.readouterr().err, "who names it has chosen it"
