"""The command line and `load_dataset`: what they print, their exit status, and their refusals."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from codedata import load_dataset
from codedata.cli import main
from codedata.cli.instance import INSTANCE_YAML, prepare_dagster_home
from codedata.errors import DatasetError
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE
from codedata.progress import TERMINAL
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

ROOT = Path(__file__).parent.parent
SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 600]]]
CHARS = [CharRange(0, 100), CharRange(100, 150)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "d", SHARDS, chars=CHARS)


def damage(folder: Path) -> Path:
    """Flip a bit of an id, which only a hash finds."""
    data = bytearray((folder / "dump-1.pkl").read_bytes())
    data[data.index(b"M") + 1] ^= 1
    (folder / "dump-1.pkl").write_bytes(data)
    return folder


def refusal_of(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on stderr with which a command ends."""
    assert main([str(argument) for argument in arguments]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("codedata: error: ")
    return line.removeprefix("codedata: error: ")


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
        "Sample 0, its first 4 tokens:",
        "[1, 2, 3, 4]",
    ]
    last = ["Sample 2, its first 4 tokens:", "[9, 10, 11, 600]"]
    assert shown(capsys, folder, "--sample", "2")[-2:] == last
    padded = scenario.write_dataset(tmp_path / "padded", SHARDS, last_sample_tokens=[4, 1])
    assert "Tokens: 12, of them 3 padding" in shown(capsys, padded)
    long = scenario.write_dataset(tmp_path / "long", [[list(range(500))]])
    assert shown(capsys, long)[-3:] == [
        "  dump-0.pkl: 1 samples, ids 0 to 499",
        "Sample 0, its first 400 tokens:",
        str(list(range(400))),
    ]


def test_show_decodes_a_sample_with_a_tokenizer(
    tokenizer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "int main(void)\n{\n\treturn 0;\n}"
    tokenizer = load_tokenizer(find_tokenizer(str(tokenizer_folder))).tokenizer
    ids = [tokenizer.token_to_id(scenario.BOS), *tokenizer.encode(text).ids]
    folder = scenario.write_dataset(tmp_path / "d", [[[7] * len(ids)], [ids]])
    assert main(["show", str(folder), "--sample", "1", "--tokenizer", str(tokenizer_folder)]) == 0
    assert capsys.readouterr().out.endswith(f" tokens:\n{scenario.BOS}{text}\n")


def test_verify_says_that_a_dataset_is_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(folder)]) == 0
    captured = capsys.readouterr()
    digest = open_dataset(folder).digest
    assert captured.out == f"{folder}: whole; 2 files, 3 samples, 12 tokens, digest {digest}\n"
    assert captured.err == ""


@pytest.mark.parametrize("order", [("good", "bad", "other"), ("bad", "good", "other")])
def test_verify_goes_through_all_folders_and_fails_if_one_is_bad(
    order: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in order:
        scenario.write_dataset(tmp_path / name, SHARDS, chars=CHARS)
    damage(tmp_path / "bad")
    assert main(["verify", *(str(tmp_path / name) for name in order)]) == 1
    captured = capsys.readouterr()
    whole = [line.partition(": whole; ")[0] for line in captured.out.splitlines()]
    assert whole == [f"{tmp_path}/good", f"{tmp_path}/other"]
    [line] = captured.err.splitlines()
    assert f"{tmp_path}/bad/dump-1.pkl" in line


def test_help_gives_examples_and_the_root(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "examples:\n  codedata materialize demo_train demo_validation " in said
    assert "Everything goes below $CODEDATA_ROOT, by default ./data." in said


def test_show_and_verify_import_neither_dagster_nor_torch(folder: Path) -> None:
    code = (
        "import sys; from codedata.cli import main; "
        "status = [main(['verify', sys.argv[1]]), main(['show', sys.argv[1]])]; "
        "print(status, {'dagster', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[0, 0] set()"


REFUSED_RUNS = {
    "a switch out of its range": (
        {"CODEDATA_DEMO_TRAIN_SEQ_LENGTH": "0"},
        r"split 'demo_train': seq_length .*, not 0; CODEDATA_DEMO_TRAIN_SEQ_LENGTH sets seq_length",
    ),
    "an overlapping held-out split": (
        {"CODEDATA_DEMO_VALIDATION_STARTING_CHARACTER": "0"},
        r"split 'demo_validation' is held out from 'demo_train', but characters 0 to 4000000 .*",
    ),
}


@pytest.mark.parametrize(("switches", "said"), REFUSED_RUNS.values(), ids=REFUSED_RUNS)
def test_materialize_refuses_in_one_line_before_any_work(
    switches: dict[str, str], said: str, tmp_path: Path
) -> None:
    home, root = tmp_path / "home", tmp_path / "root"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CODEDATA_")
    }
    environment |= {"DAGSTER_HOME": str(home), ROOT_VARIABLE: str(root), **switches}
    done = subprocess.run(
        [sys.executable, "-m", "codedata.cli", "materialize", "demo_train"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=15,  # it takes one second on an idle machine
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.fullmatch(f"codedata: error: {said}", done.stderr.splitlines()[-1]), done.stderr
    assert not root.exists()
    assert os.listdir(home) == ["dagster.yaml"]


def test_a_dagster_home_that_is_set_is_kept_and_so_is_a_dagster_yaml_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "deep" / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    assert prepare_dagster_home(TERMINAL) == home
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert not (tmp_path / "root").exists()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: true\n", encoding="utf-8")
    prepare_dagster_home(TERMINAL)
    assert (home / "dagster.yaml").read_text() == "telemetry:\n  enabled: true\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storage: {sqlite: {base_dir: 5}}", "is not valid for expected type"),
        ("run_storage: {module: no.such, class: Thing}", "no.such"),
        ("a: [", "while parsing"),
    ],
    ids=["type", "module", "yaml"],
)
def test_an_instance_that_cannot_be_opened_is_said_in_one_line(
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    message = refusal_of(capsys, "materialize", "demo_train")
    assert message.startswith(f"the Dagster instance of {tmp_path} cannot be opened: ")
    assert said in message
    assert message.endswith("; correct its dagster.yaml, or unset DAGSTER_HOME")


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_without_a_dagster_home_it_is_below_the_root_and_made_quiet(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that what is set below is taken back
    if value is None:
        del os.environ["DAGSTER_HOME"]
    monkeypatch.setenv(ROOT_VARIABLE, "root")
    home = tmp_path / "root" / ".dagster"
    assert prepare_dagster_home(TERMINAL) == home
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert (home / "dagster.yaml").read_text(encoding="utf-8") == INSTANCE_YAML
    written = yaml.safe_load(INSTANCE_YAML)
    assert written["telemetry"] == written["nux"] == {"enabled": False}


def test_load_dataset_opens_a_dataset_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_dataset(tmp_path / "datasets" / "train", SHARDS, chars=CHARS)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    dataset = load_dataset("train")
    samples = [sample for shard in SHARDS for sample in shard]
    assert [sample["input_ids"].tolist() for sample in dataset] == samples
    assert capsys.readouterr() == ("", ""), "it is quiet"
    damage(folder)
    assert len(load_dataset("train")) == 3
    with pytest.raises(DatasetError, match=r"dump-1\.pkl"):
        load_dataset("train", verify=True)


def test_the_root_is_the_folder_data_where_no_variable_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.write_dataset(tmp_path / "data" / "datasets" / "train", SHARDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert len(load_dataset("train")) == 3
