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


@pytest.mark.parametrize(
    ("name", "said"), [("x-y", "'x-y' names no component"), ("x", "no corpus is defined in ")]
)
def test_what_could_not_load_is_refused_and_leaves_no_folder(
    name: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(click.ClickException, match=said):
        scaffold(SplitScaffolder(), DatasetSplit, tmp_path / name)
    assert not (tmp_path / name).exists()
