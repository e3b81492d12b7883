"""`dg scaffold defs`: what it writes loads, with its comments and without."""

import re
from pathlib import Path

import click
import dagster as dg
import pytest
import yaml

from codedata.components import DatasetSplit, RawCorpus, TrainedTokenizer
from codedata.components.scaffolding import (
    CorpusScaffolder,
    SplitScaffolder,
    TokenizerScaffolder,
    YamlScaffolder,
)
from codedata.layout import Layout
from codedata.progress import SILENT
from codedata_tests.components.yamls import jobs_of, tree_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic


def scaffold(scaffolder: YamlScaffolder, component: type, folder: Path) -> str:
    """What the command writes, once Dagster has made the folder."""
    folder.mkdir(parents=True)
    request = dg.ScaffoldRequest(
        type_name=f"codedata.components.{component.__name__}",
        target_path=folder,
        scaffold_format="yaml",
        project_root=folder.parent,
        params=scaffolder.get_scaffold_params()(),
    )
    scaffolder.scaffold(request)
    return (folder / "defs.yaml").read_text(encoding="utf-8")


@pytest.fixture
def scaffolded(tmp_path: Path) -> dict[str, str]:
    """A corpus, a tokenizer and a split, in the order in which a user would have them written."""
    defs = tmp_path / "scaffolded"
    return {
        "mine": scaffold(CorpusScaffolder(), RawCorpus, defs / "mine"),
        "words": scaffold(TokenizerScaffolder(), TrainedTokenizer, defs / "words"),
        "x": scaffold(SplitScaffolder(), DatasetSplit, defs / "x"),
    }


def test_a_corpus_a_tokenizer_and_a_split_load_as_they_are_written(
    scaffolded: dict[str, str], tmp_path: Path
) -> None:
    assert "x" in jobs_of(tree_of(tmp_path, scaffolded))


def test_every_field_is_there_and_loads_with_its_default_too(
    scaffolded: dict[str, str], tmp_path: Path
) -> None:
    """As one does who takes the sign of a comment away."""
    fields = {*RawCorpus.model_fields, *DatasetSplit.model_fields, *TrainedTokenizer.model_fields}
    fields |= {"headers_of", "extensions"}
    said = rf"^( +)# ((?:{'|'.join(fields)}): .*)$"
    whole = {
        name: re.sub(said, r"\1\2", text, flags=re.MULTILINE) for name, text in scaffolded.items()
    }
    assert "x" in jobs_of(tree_of(tmp_path, whole))
    split, _, corpus = (
        yaml.safe_load(whole[name])["attributes"] for name in ("x", "words", "mine")
    )
    assert split.keys() == DatasetSplit.model_fields.keys()
    assert corpus.keys() == RawCorpus.model_fields.keys()


def test_a_split_has_the_tokenizer_of_the_others_and_no_more_than_its_corpus(
    tmp_path: Path,
) -> None:
    defs = tmp_path / "defs"
    for name, text in {
        "c": "type: codedata.components.RawCorpus\nattributes: {name: c, source: {kind: hub, "
        "repo: a/b, path: 'c-{0..2}.parquet', first_chars: 5000}}",
        "old": "type: codedata.components.DatasetSplit\nattributes: {name: old, corpus: c, "
        "files: 0, tokenizer_base: words, pad_token: 1}",
    }.items():
        (defs / name).mkdir(parents=True)
        (defs / name / "defs.yaml").write_text(text, encoding="utf-8")
    found = yaml.safe_load(scaffold(SplitScaffolder(), DatasetSplit, defs / "x"))["attributes"]
    assert found == {
        "name": "x", "corpus": "c", "files": 0, "tokenizer_base": "words", "pad_token": 1,
        "seq_length": 512, "chars_to_tokenize": 5000,
    }  # fmt: skip


def split_beside(defs: Path, source: str, splits: dict[str, str]) -> tuple[dict[str, object], str]:
    """A split that is scaffolded beside others over a corpus: its fields and its lines."""
    texts = {"c": f"type: codedata.components.RawCorpus\nattributes: {{name: c, source: {source}}}"}
    for split, fields in splits.items():
        texts[split] = (
            f"type: codedata.components.DatasetSplit\nattributes: {{name: {split}, corpus: c, "
            f"tokenizer_base: words, min_sample_length: 0, {fields}}}"
        )
    for other, text in texts.items():
        (defs / other).mkdir(parents=True)
        (defs / other / "defs.yaml").write_text(text, encoding="utf-8")
    written = scaffold(SplitScaffolder(), DatasetSplit, defs / "x")
    texts["x"] = written
    assert "x" in jobs_of(tree_of(defs.parent / "loaded", texts)), "it loads as it is"
    return yaml.safe_load(written)["attributes"], written


HUB = "{kind: hub, repo: a/b, path: c.parquet, first_chars: 5000}"
WINDOWS = {
    "b": "starting_character: 3000, chars_to_tokenize: 1000",
    "d": "chars_to_tokenize: 3000, max_dump_size: 5",
}


def test_a_split_begins_after_the_others_and_is_held_out_from_them(tmp_path: Path) -> None:
    found, written = split_beside(tmp_path / "defs", HUB, WINDOWS)
    assert found == {
        "name": "x", "corpus": "c", "held_out_from": ["b", "d"], "tokenizer_base": "words",
        "min_sample_length": 0, "seq_length": 512, "starting_character": 4000,
        "chars_to_tokenize": 1000,
    }  # fmt: skip
    assert "# No text" not in written
    assert "# Whether c" not in written


@pytest.mark.parametrize("last", ["chars_to_tokenize: 2000", "chars_to_tokenize: 1999"])
def test_a_split_that_the_others_leave_no_text_says_so(last: str, tmp_path: Path) -> None:
    windows = {**WINDOWS, "e": f"starting_character: 3000, {last}"}
    found, written = split_beside(tmp_path / "defs", HUB, windows)
    is_full = last.endswith("2000")
    assert ("held_out_from" in found) is not is_full
    assert found["chars_to_tokenize"] == (5000 if is_full else 1)
    assert ("# No text of c is known to be left by b, d, e: this split" in written) is is_full


def test_how_much_text_there_is_goes_by_the_record_once_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.c").write_text("a" * 4500, encoding="utf-8")
    source = f"{{kind: folders, folders: {{p: {tmp_path}/code}}}}"
    found, written = split_beside(tmp_path / "unknown" / "defs", source, WINDOWS)
    assert (found["starting_character"], found["chars_to_tokenize"]) == (4000, 2_000_000)
    assert "# Whether c has text here is known once it is materialized." in written
    corpus = RawCorpus(name="c", source=yaml.safe_load(source))
    corpus.materialize(Layout(tmp_path), SILENT)
    found, written = split_beside(tmp_path / "known" / "defs", source, WINDOWS)
    assert (found["starting_character"], found["chars_to_tokenize"]) == (4000, 500)
    assert "# Whether c" not in written


@pytest.mark.parametrize(
    ("name", "said"), [("x-y", "'x-y' names no component"), ("x", "no corpus is defined in ")]
)
def test_what_could_not_load_is_refused_and_leaves_no_folder(
    name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(click.ClickException, match=said):
        scaffold(SplitScaffolder(), DatasetSplit, tmp_path / name)
    assert not (tmp_path / name).exists()
