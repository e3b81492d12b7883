"""`codedata show`: counts, a sample decoded by the dataset's own tokenizer, and JSON."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from huggingface_hub import constants

import codedata
from codedata.cli import main
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, TOKENIZER_VARIABLE
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 600]]]
CHARS = [CharRange(0, 100), CharRange(100, 150)]
UNKNOWN = "(it does not say whose; --tokenizer names one to decode with)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "d", SHARDS, chars=CHARS)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    assert main(["show", *(str(argument) for argument in arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_show_says_what_is_in_a_dataset(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, folder) == [
        f"{folder}: 2 files",
        "Samples: 3 of 4 tokens",
        "Tokens: 12",
        f"Digest: {open_dataset(folder).digest}",
        "  dump-0.pkl: 2 samples, ids 1 to 8, characters 0 to 100",
        "  dump-1.pkl: 1 samples, ids 9 to 600, characters 100 to 150",
        f"Sample 0, its first 4 tokens {UNKNOWN}:",
        "[1, 2, 3, 4]",
    ]
    last = [f"Sample 2, its first 4 tokens {UNKNOWN}:", "[9, 10, 11, 600]"]
    assert shown(capsys, folder, "--sample", "2")[-2:] == last
    padded = scenario.write_dataset(tmp_path / "padded", SHARDS, last_sample_tokens=[4, 1])
    assert "Tokens: 12, of them 3 padding" in shown(capsys, padded)
    long = scenario.write_dataset(tmp_path / "long", [[list(range(500))]])
    assert shown(capsys, long)[-3:] == [
        "  dump-0.pkl: 1 samples, ids 0 to 499",
        f"Sample 0, its first 400 tokens {UNKNOWN}:",
        str(list(range(400))),
    ]


def test_of_many_files_show_reads_and_lists_the_first_hundred(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_dataset(tmp_path / "many", [[[index, 7]] for index in range(102)])
    lines = shown(capsys, folder, "--sample", "101")
    assert lines[-4:-2] == ["  dump-99.pkl: 1 samples, ids 7 to 99", "  and 2 more"]
    assert lines[-1] == "[101, 7]"


def test_show_decodes_a_sample_with_a_tokenizer(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "int main(void)\n{\n\treturn 0;\n}"
    tokenizer = load_tokenizer(find_tokenizer(str(tokenizer_folder))).tokenizer
    ids = [tokenizer.token_to_id(scenario.BOS), *tokenizer.encode(text).ids]
    folder = scenario.write_dataset(tmp_path / "d", [[[7] * len(ids)], [ids]])
    assert main(["show", str(folder), "--sample", "1", "--tokenizer", str(tokenizer_folder)]) == 0
    assert capsys.readouterr().out.endswith(f" tokens:\n{scenario.BOS}{text}\n")


def test_a_sample_is_decoded_by_the_tokenizer_that_the_dataset_names_where_it_is_here(
    tokenizer_folder: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = find_tokenizer(str(tokenizer_folder))
    scenario.write_facts(folder, "mine", sha256=files.fingerprint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no run remembered it"))
    monkeypatch.delenv(TOKENIZER_VARIABLE, raising=False)
    gone = "Sample 0, its first 4 tokens (of mine, which is not here; --tokenizer names one to "
    assert shown(capsys, folder)[-2:] == [f"{gone}decode with):", "[1, 2, 3, 4]"]
    monkeypatch.setenv(TOKENIZER_VARIABLE, str(tokenizer_folder))
    text = load_tokenizer(files).tokenizer.decode([1, 2, 3, 4], skip_special_tokens=False)
    assert shown(capsys, folder)[-2:] == ["Sample 0, its first 4 tokens:", text]
    monkeypatch.delenv(TOKENIZER_VARIABLE)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    shutil.copytree(tokenizer_folder, tmp_path / "root" / "tokenizers" / "mine")
    assert shown(capsys, folder)[-1] == text
    (tmp_path / "root" / "tokenizers" / "mine" / "tokenizer_config.json").unlink()
    assert shown(capsys, folder)[-2].startswith(gone), "other files are another tokenizer"


def test_one_of_the_hub_is_taken_from_its_cache_and_never_asked_for(
    tokenizer_folder: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No server answers here: a request would be refused, or waited for."""
    commit, repo = "c" * 40, "me/tok"
    sha256 = find_tokenizer(str(tokenizer_folder)).fingerprint
    scenario.write_facts(folder, repo, sha256=sha256, revision=commit)
    assert f"(of {repo}, which is not here;" in shown(capsys, folder)[-2]
    snapshot = Path(constants.HF_HUB_CACHE) / "models--me--tok" / "snapshots" / commit
    shutil.copytree(tokenizer_folder, snapshot)
    assert shown(capsys, folder)[-2] == "Sample 0, its first 4 tokens:"


def test_json_has_all_ids_and_what_the_dataset_was_made_of(
    tokenizer_folder: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = find_tokenizer(str(tokenizer_folder))
    monkeypatch.setenv(TOKENIZER_VARIABLE, str(tokenizer_folder))
    scenario.write_facts(folder, "mine", sha256=files.fingerprint)
    found = json.loads("\n".join(shown(capsys, folder, "--json", "--sample", "1")))
    text = load_tokenizer(files).tokenizer.decode([5, 6, 7, 8], skip_special_tokens=False)
    assert found == {
        "folder": str(folder),
        "files": 2,
        "samples": 3,
        "seq_length": 4,
        "tokens": 12,
        "padding": None,
        "samples_by_corpus": None,
        "digest": open_dataset(folder).digest,
        "tokenizer": "mine",
        "tokenizer_sha256": files.fingerprint,
        "command": "codedata materialize train",
        "switches": {"tokenizer_base": "mine"},
        "recipe": None,
        "documents": None,
        "sample": {"index": 1, "input_ids": [5, 6, 7, 8], "text": text},
    }


def test_of_documents_it_is_said_how_they_became_samples_and_what_became_of_them(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = ["int a;\n" * 30, "", f"char {scenario.EOT}", "int b;\n" * 3]
    made = codedata.build(
        documents,
        tmp_path / "documents",
        tokenizer_base=str(tokenizer_folder),
        pad_token=scenario.PAD,
        seq_length=32,
        recipe={"documents": {"eos": scenario.EOT, "bos": scenario.BOS}},
    )
    assert made.facts is not None
    assert made.facts.documents is not None
    lines = shown(capsys, made.folder)
    assert lines[3:5] == [
        "Recipe: <|begin|> document <|EOT|>, order corpus, packing best_fit",
        (
            "Documents: 2 (1 empty, 1 with control tokens left out); 1 in several samples, "
            "0 of them short enough for one"
        ),
    ]
    found = json.loads("\n".join(shown(capsys, made.folder, "--json")))
    assert found["recipe"]["documents"] == {
        "bos": scenario.BOS, "eos": scenario.EOT, "control_tokens": "drop",
    }  # fmt: skip
    assert found["documents"] == asdict(made.facts.documents)
