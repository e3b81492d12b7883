"""`codedata materialize` and `list` on a mixture: what is said before, after, and when stale."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from codedata import load_mixture
from codedata.cli import main
from codedata.layout import ROOT_VARIABLE, TOKENIZER_VARIABLE
from codedata_tests import scenario
from codedata_tests.cli.test_project import forget_modules, write_project

SPLIT = {"corpus": "c", "seq_length": 4}
MIX = {"sources": [{"dataset": "code", "weight": 3}, {"dataset": "docs", "weight": 1}]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with two splits, of which one has a dataset, and a mixture of them."""
    components: dict[str, tuple[str, dict[str, Any]]] = {
        "c": ("RawCorpus", {"source": {"kind": "local", "path": "c.parquet"}}),
        "code": ("DatasetSplit", SPLIT),
        "docs": ("DatasetSplit", SPLIT),
        "mix": ("Mixture", MIX),
    }
    write_project(tmp_path, components)
    write_split(tmp_path, "code", 30)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("DAGSTER_HOME", "")
    for variable in ("DAGSTER_HOME", ROOT_VARIABLE, TOKENIZER_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    forget_modules()
    yield tmp_path
    forget_modules()


def write_split(project: Path, name: str, number: int) -> None:
    folder = project / "data" / "datasets" / name
    shutil.rmtree(folder, ignore_errors=True)
    samples = np.array_split(scenario.numbered(number, first=1000 * len(name) + number), 2)
    scenario.write_dataset(folder, samples, last_sample_tokens=[4, 4])


@pytest.mark.campaign  # seven loads of definitions
def test_a_mixture_is_made_by_its_name_and_listed_with_what_changed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed() -> dict[str, Any]:
        forget_modules()
        assert main(["list", "--json"]) == 0
        [mixture] = json.loads(capsys.readouterr().out)["mixtures"]
        return mixture

    assert (listed()["state"], listed()["samples"]) == ("missing", None)
    assert main(["materialize", "mix", "--dry-run"]) == 0
    assert "mix: code, docs by weight\n  not known yet: " in capsys.readouterr().out
    assert main(["materialize", "mix"]) == 1
    assert "split 'mix': " in capsys.readouterr().err
    write_split(project, "docs", 20)
    assert main(["materialize", "mix", "--dry-run"]) == 0
    assert "  code 75.0%: 30 of 30 samples, 1.00 epochs\n" in capsys.readouterr().out
    assert main(["materialize", "mix"]) == 0
    mixed = load_mixture("mix")
    path = project / "data" / "mixtures" / "mix.json"
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 40 samples, digest {mixed.digest}",
        "  code 75.0%: 30 of 30 samples, 1.00 epochs",
        "  docs 25.0%: 10 of 20 samples, 0.50 epochs",
    ]
    assert listed() == {
        "name": "mix",
        "state": "made",
        "why": [],
        "path": str(path),
        "samples": 40,
        "digest": mixed.digest,
    }
    write_split(project, "docs", 21)
    assert listed()["why"] == ["split docs is another dataset than it was"]
    yaml_of = project / "mine/defs/mix/defs.yaml"
    said = yaml.safe_load(yaml_of.read_text())
    said["attributes"] |= {"num_samples": 100}
    yaml_of.write_text(yaml.dump(said))
    assert "source 'code': 75 draws of 30 samples" in listed()["why"][1]
    forget_modules()
    assert main(["materialize", "mix"]) == 1
    assert "mix: source 'code': 75 draws of 30 samples are 2.50 epochs" in capsys.readouterr().err
    said["attributes"]["sources"][0]["dataset"] = "cod"
    yaml_of.write_text(yaml.dump(said))
    forget_modules()
    assert main(["list"]) == 1
    assert (
        "mixture 'mix' needs the asset 'cod/dataset', which nothing defines; did you mean code?"
        in (capsys.readouterr().err)
    )
