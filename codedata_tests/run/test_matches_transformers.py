"""AutoTokenizer of the installed transformers, in a process of its own, against a run's ids."""

import json
import shutil
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from codedata.recipe.settings import Settings
from codedata.run import matches_transformers
from codedata.run.checks import CheckOutcome
from codedata.run.matches_transformers import TransformersCheck, sample_of
from codedata.run.plan import open_plan
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks
from codedata.tokenize.probe import PROBE
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

SAMPLE = [("a line", "int i;\n"), ("the sample", PROBE)]
RELEASE = version("transformers")


@pytest.fixture
def own(tokenizer_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tests' tokenizer, to be changed."""
    return Path(shutil.copytree(tokenizer_folder, tmp_path / "own"))


def with_config(folder: Path, name: str, **fields: Any) -> Path:
    """Add fields to one of a folder's files."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_bytes()) | fields), encoding="utf-8")
    return folder


def outcome_of(folder: Path, about: str = "") -> CheckOutcome:
    with closing(TransformersCheck(find_tokenizer(str(folder)), [about])) as check:
        return check.known or check.compare(SAMPLE)


@pytest.fixture(scope="module")
def rebuilt(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that transformers rebuilds with the pre-tokenizer of another class; no config.json."""
    folder = tmp_path_factory.mktemp("rebuilt") / "t"
    shutil.copytree(tokenizer_folder, folder)
    (folder / "config.json").unlink()
    return with_config(folder, "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")


@pytest.fixture(scope="module")
def of_rebuilt(rebuilt: Path) -> CheckOutcome:
    return outcome_of(rebuilt)


def test_a_real_difference_is_told_with_release_place_ids_and_tokens(
    of_rebuilt: CheckOutcome,
) -> None:
    assert not of_rebuilt.passed
    assert of_rebuilt.description.startswith(
        f"AutoTokenizer of transformers {RELEASE} (GPT2Tokenizer) gives other ids: in the sample, "
        "from id "
    )
    assert "'ĉ', 'f', 'or'" in of_rebuilt.description
    assert ", where the dataset has [" in of_rebuilt.description
    assert "'ĉfor', " in of_rebuilt.description
    assert of_rebuilt.numbers["transformers"] == RELEASE


def test_that_config_json_is_missing_is_told_and_does_not_pass(of_rebuilt: CheckOutcome) -> None:
    assert "; but without config.json, by which it chooses" in of_rebuilt.description


def test_what_was_answered_is_kept_for_the_same_text_files_and_release(
    rebuilt: Path, of_rebuilt: CheckOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(about: str = "") -> TransformersCheck:
        return TransformersCheck(find_tokenizer(str(rebuilt)), [about])

    assert check().known == of_rebuilt
    unknown = [check("another text")]
    (rebuilt / "config.json").write_text("{}", encoding="utf-8")
    unknown.append(check())
    (rebuilt / "config.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(matches_transformers, "version", lambda _: "0")
        unknown.append(check())
    for each in unknown:
        with closing(each):
            assert each.known is None


@pytest.mark.parametrize("note", [[1], {"passed": True}, "x"])
def test_a_note_of_another_shape_is_as_good_as_none(own: Path, note: Any) -> None:
    files = find_tokenizer(str(own))
    with closing(TransformersCheck(files, ["a"])) as check:
        matches_transformers.write_note(matches_transformers._NOTES, check._note, note)
    with closing(TransformersCheck(files, ["a"])) as check:
        assert check.known is None


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(
    "auto_map", [{"AutoTokenizer": ["code.Own", None]}, ["code.Own", None]], ids=["named", "list"]
)
def test_a_tokenizer_s_own_code_is_not_run_and_that_is_told(
    own: Path, name: str, auto_map: Any
) -> None:
    (own / "code.py").write_text(f"open({str(own / 'ran')!r}, 'w')\nclass Own: pass\n")
    outcome = outcome_of(with_config(own, name, auto_map=auto_map))
    assert not outcome.passed
    assert f"the tokenizer is code of its own (auto_map in {name}), and" in outcome.description
    assert not (own / "ran").exists()


def test_a_process_that_dies_is_told_in_one_line_and_not_remembered(own: Path) -> None:
    (own / "config.json").write_text("[" * 10, encoding="utf-8")
    outcome = outcome_of(own)
    assert not outcome.passed
    assert outcome.description.startswith(
        f"not compared with AutoTokenizer of transformers {RELEASE}: its process ended with 1: json"
    )
    assert "\n" not in outcome.description
    with closing(TransformersCheck(find_tokenizer(str(own)), [""])) as again:
        assert again.known is None


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_one_that_hangs_is_given_up_and_ended_and_nothing_stays(
    tokenizer_folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matches_transformers, "PATIENCE_SECONDS", 0.1)
    with closing(TransformersCheck(find_tokenizer(str(tokenizer_folder)), ["slow"])) as check:
        assert list(temporary.iterdir())
        assert "no answer within 0.1 s" in check.compare(SAMPLE).description
    assert not list(temporary.iterdir())


def test_one_whose_run_was_killed_ends_by_itself_and_nothing_stays(
    rebuilt: Path, temporary: Path
) -> None:
    with closing(TransformersCheck(find_tokenizer(str(rebuilt)), ["killed"])) as check:
        assert check._process.stdin is not None
        check._process.stdin.close()
        assert check._process.wait(timeout=300) == 1
        assert not list(temporary.iterdir())


def test_where_no_process_can_be_started_that_is_told(
    tokenizer_folder: Path, temporary: Path
) -> None:
    temporary.rmdir()
    check = TransformersCheck(find_tokenizer(str(tokenizer_folder)), ["no folder"])
    assert check.known is not None
    assert "no process can be started for it: [Errno 2]" in check.known.description


def test_the_sample_is_of_the_window_s_start_middle_and_end(
    corpus: Path, documents: list[str], tokenizer_folder: Path, tmp_path: Path
) -> None:
    text = scenario.plain_text(documents)
    files = find_tokenizer(str(tokenizer_folder))
    settings = Settings(
        pad_token=0, starting_character=10, chars_to_tokenize=100_000, chunk_size=30_000
    )
    plan = open_plan({0: ParquetText(corpus)}, settings, files)
    sample = sample_of(plan.tasks(lambda _: LocalChunks(tmp_path)))
    places = [(10, 8_202), (40_914, 49_106), (91_818, 100_010)]
    assert [some for _, some in sample] == [PROBE, *(text[start:stop] for start, stop in places)]
    assert sample[3][0] == f"{corpus}, characters 91818 to 100010"
    assert [some for _, some in sample_of([])] == [PROBE]
