"""Kinds of source: found by name, also those of other packages; what does not fit is refused."""

import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest

from codedata.components import RawCorpus
from codedata.definitions import resources
from codedata.errors import CorpusError
from codedata.layout import Layout
from codedata.progress import SILENT
from codedata.sources import registry
from codedata_tests.components.yamls import tree_of
from codedata_tests.howto_pages import blocks_of

PACKAGE = {
    block.title: block.text for block in blocks_of("own-corpus.md") if block.language != "yaml"
}
"""The package that the page on corpora has."""

YAML = """\
type: codedata.components.RawCorpus
attributes:
  name: c
  source: {kind: jsonl, path: "{{ env('CODEDATA_TESTS_PATH') }}"}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That package, as an installer leaves it."""
    (tmp_path / "my_sources.py").write_text(PACKAGE["my-sources/my_sources.py"], encoding="utf-8")
    [(group, points)] = tomllib.loads(PACKAGE["my-sources/pyproject.toml"])["project"][
        "entry-points"
    ].items()
    lines = [f"[{group}]", *(f"{name} = {what}" for name, what in points.items())]
    information = tmp_path / "my_sources-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-sources\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_sources", raising=False)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic
@pytest.mark.usefixtures("installed")
def test_a_source_of_another_package_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CorpusError, match="there are hub, local, folders, git, url, jsonl"):
        registry.read_source({"kind": "web"}, "it")
    assert "my_sources" not in sys.modules, "imported where it is named"
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "int a;"}\n{"text": "int b;"}\n', encoding="utf-8")
    monkeypatch.setenv("CODEDATA_TESTS_PATH", str(texts))
    tree = tree_of(tmp_path / "tree", {"c": YAML})
    [corpus] = tree.get_all_components(of_type=RawCorpus)
    record = corpus.materialize(Layout(tmp_path), SILENT)
    assert record.origin == {"kind": "jsonl", "path": str(texts)}
    assert record.open_text().first_documents(5) == ["int a;", "int b;"]
    assert corpus.bytes_known(Layout(tmp_path)) == [record.num_bytes]
    definitions = dg.Definitions.merge(tree.build_defs(), dg.Definitions(resources=resources))
    assert definitions.get_assets_def(["c", "raw_parquet"]).specs_by_key


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({}, "source of it has no kind; there are hub, local, folders"),
        ({"kind": "Hub"}, "source of it is of kind 'Hub'; did you mean hub? there are hub, "),
        (
            {"kind": "local", "paht": "c.parquet"},
            "source of it (kind: local): path is missing; add it; there is no field 'paht'; did yo",
        ),
        (
            {"kind": "hub", "repo": "a/b", "path": "c", "first_chars": "{1}"},
            "source of it (kind: hub): first_chars is '{1}': Input should be a valid integer, unab",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_names_what_would(
    attributes: dict[str, str], said: str
) -> None:
    with pytest.raises(CorpusError) as refusal:
        registry.read_source(attributes, "it")
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


def test_values_of_the_environment_are_text_and_taken_as_numbers() -> None:
    attributes = {"kind": "hub", "repo": "a/b", "path": "c.parquet", "first_chars": "1000"}
    assert registry.read_source(attributes, "it").num_chars == 1000


def test_the_kinds_are_read_without_what_speaks_with_the_hub() -> None:
    code = "import sys, codedata.sources.registry as r; r.read_source({'kind': 'hub', 'repo': "
    code += "'a/b', 'path': 'c'}, 'it'); print({'huggingface_hub', 'httpx2', 'dagster', 'torch'} "
    code += "& set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
