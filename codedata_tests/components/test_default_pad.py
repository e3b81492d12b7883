"""A split's pad token: by name or id, in YAML or environment; unnamed, judged before the corpus."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from codedata.components import DatasetSplit
from codedata.components.default_pad import DEFAULT_PAD_TAG
from codedata.definitions import resources
from codedata.layout import ROOT_VARIABLE
from codedata.recipe.settings import DEFAULT_PAD_TOKEN
from codedata.resources import DataRoot
from codedata_tests import scenario
from codedata_tests.components.small_platform import failure
from codedata_tests.components.yamls import tree_of
from codedata_tests.script_runs import PAD_ID

CORPUS = """\
type: codedata.components.RawCorpus
attributes: {{name: c, source: {{kind: local, path: '{corpus}'}}}}
"""
SPLIT = """\
type: codedata.components.DatasetSplit
attributes:
  {{name: small, corpus: c, chars_to_tokenize: 9000, chunk_size: 9000, seq_length: 64,
    min_sample_length: 10, tokenizer_base: '{tokenizer}'}}
"""


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic


NAMED = {
    "nobody": ({}, {}, DEFAULT_PAD_TOKEN, False),
    "the YAML, an id": ({"pad_token": PAD_ID}, {}, PAD_ID, True),
    "the YAML, the default": ({"pad_token": DEFAULT_PAD_TOKEN}, {}, DEFAULT_PAD_TOKEN, True),
    "the YAML, an id as text": ({"pad_token": str(PAD_ID)}, {}, PAD_ID, True),
    "the YAML, a name": ({"pad_token": scenario.PAD}, {}, scenario.PAD, True),
    "the environment, an id": ({}, {"PAD_TOKEN": str(PAD_ID)}, PAD_ID, True),
    "the environment, a name": ({"pad_token": 5}, {"PAD_TOKEN": scenario.PAD}, scenario.PAD, True),
    "the environment, with nothing": ({}, {"PAD_TOKEN": ""}, DEFAULT_PAD_TOKEN, False),
}


@pytest.mark.parametrize(("yaml", "environment", "pad", "named"), NAMED.values(), ids=NAMED)
def test_who_named_the_pad_token_and_how(
    yaml: dict[str, Any],
    environment: dict[str, str],
    pad: int | str,
    named: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for switch, value in environment.items():
        monkeypatch.setenv(f"CODEDATA_SMALL_{switch}", value)
    text = json.dumps({"name": "small", "corpus": "c"} | yaml)
    split = DatasetSplit.resolve_from_yaml(text)
    assert split.settings.pad_token == pad
    assert split.pad_is_named == named


def test_an_unnamed_one_is_refused_before_the_corpus_is_had(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    split = SPLIT.format(tokenizer=tokenizer_folder)
    tree = tree_of(tmp_path, {"c": CORPUS.format(corpus=corpus), "small": split})
    own = {**resources, "store": DataRoot(root=str(root))}
    parts = dg.Definitions(resources=own, executor=dg.in_process_executor)
    job = dg.Definitions.merge(tree.build_defs(), parts).resolve_job_def("small")
    assert DEFAULT_PAD_TAG in job.tags
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    said = failure(result)
    assert "pad_token is not named, and its default 32014 is not in the vocabulary of" in said
    assert f"'{scenario.PAD}' (id {PAD_ID})" in said
    failed = [event.step_key for event in result.all_events if event.is_step_failure]
    assert failed == ["c__raw_parquet"]
    assert not root.exists()


def test_codedata_materialize_says_it_before_the_first_run(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    names = {name: value for name, value in os.environ.items() if "CODEDATA" not in name}
    environment = {
        **names,
        "DAGSTER_HOME": str(tmp_path / "home"),
        ROOT_VARIABLE: str(tmp_path / "root"),
        "CODEDATA_TOKENIZER": str(tokenizer_folder),
    }
    command = [sys.executable, "-m", "codedata", "materialize", "train"]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(
        "codedata: error: split 'train': pad_token is not named, and its default"
    )
    assert not (tmp_path / "root").exists()
