"""Which files of a corpus of several a split takes: all, or of the reference's what it says."""

import time
from pathlib import Path

import dagster as dg
import pytest

from codedata.cli.definition_errors import user_error
from codedata.components import DatasetSplit, RawCorpus
from codedata.definitions import resources
from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata.run.checks import KNOWN_REPO
from codedata.sources.record import record_corpus
from codedata_tests import scenario
from codedata_tests.components.yamls import tree_of

CORPUS = """\
type: codedata.components.RawCorpus
attributes:
  name: c
  source: {source}
"""
SPLIT = """\
type: codedata.components.DatasetSplit
attributes:
  {{name: {name}, corpus: c, chars_to_tokenize: 1000, chunk_size: 1000, pad_token: 1{more}}}
"""
HUB = "{kind: hub, repo: a/b, path: 'c-{0..2}.parquet'}"
STACK = HUB.replace("a/b", KNOWN_REPO)


@pytest.fixture
def parquets(tmp_path: Path) -> list[Path]:
    return [
        scenario.write_parquet(tmp_path / f"{number}.parquet", [f"int a{number};"] * (number + 1))
        for number in range(3)
    ]


def load(folder: Path, source: str, splits: dict[str, str]) -> dg.Definitions:
    """The definitions of a corpus and splits over it, `splits` the rest of each one's YAML."""
    yamls = {name: SPLIT.format(name=name, more=more) for name, more in splits.items()}
    tree = tree_of(folder, {"c": CORPUS.format(source=source), **yamls})
    return dg.Definitions.merge(tree.build_defs(), dg.Definitions(resources=resources))


def refusal(folder: Path, source: str, splits: dict[str, str]) -> str:
    with pytest.raises(Exception, match="Error while building") as found:
        load(folder, source, splits)
    return str(user_error(found.value))


def partitions(defs: dg.Definitions, split: str) -> list[str]:
    chunks = defs.resolve_assets_def(dg.AssetKey([split, "token_chunks"]))
    assert chunks.partitions_def is not None
    return list(chunks.partitions_def.get_partition_keys())


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic


def test_a_split_that_does_not_say_which_files_is_refused_with_what_the_answers_mean(
    parquets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path / "root"))
    sizes = [path.stat().st_size for path in parquets]
    for file, parquet in enumerate(parquets):
        record_corpus(Layout.from_environment().corpus("c", file), parquet, {"kind": "hub"})
    assert refusal(tmp_path, STACK, {"s": ""}) == (
        f"{tmp_path}/own_{tmp_path.name}/s/defs.yaml:2: split 's' does not say which files it "
        "takes of corpus 'c', which has 3; write files: all "
        f"for up to 3,000 characters of {sum(sizes):,} bytes, or files: 0 for up to 1,000 "
        f"characters of {sizes[0]:,} bytes"
    )


def test_of_the_hub_s_files_only_the_bytes_of_those_that_are_here_are_known(
    parquets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path / "root"))
    assert (
        "files: all for up to 3,000 characters of a number of bytes that is not known before they "
        "are here, or files: 0 for up to 1,000 characters of a number of bytes that is not known"
    ) in refusal(tmp_path / "first", STACK, {"s": ""})
    folder = Layout.from_environment().corpus("c", 1)
    folder.mkdir(parents=True)
    record_corpus(folder, parquets[1], {"kind": "hub"})
    size = parquets[1].stat().st_size
    assert f"of at least {size:,} bytes (1 of 3 files are here), or files: 0" in refusal(
        tmp_path / "second", STACK, {"s": ""}
    )


def test_all_is_every_file_and_a_number_one(tmp_path: Path) -> None:
    splits = {
        "every": "",
        "one": ", files: 0",
        "late": ", files: all, starting_character: 1000, held_out_from: [every]",
    }
    defs = load(tmp_path, HUB, splits)
    assert partitions(defs, "every") == [f"0000{n}/0000000000-0000001000" for n in range(3)]
    assert partitions(defs, "one") == ["00000/0000000000-0000001000"]
    assert partitions(defs, "late") == [f"0000{n}/0000001000-0000002000" for n in range(3)]


def test_a_split_held_out_from_all_files_may_share_none(tmp_path: Path) -> None:
    splits = {"every": ", files: all", "last": ", files: 2, held_out_from: [every]"}
    said = refusal(tmp_path, HUB, splits)
    assert "split 'last' is held out from 'every', but characters 0 to 1000 of file 2" in said


def test_all_files_in_too_many_chunks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_S_CHUNK_SIZE", "500")
    more = ", files: all, partitions: chunk"
    said = refusal(tmp_path, HUB.replace("0..2", "0..9999"), {"s": more})
    assert "1000 of 10000 files in chunks of 500 are more than 10000 partitions" in said


def test_a_corpus_of_one_file_needs_no_saying(tmp_path: Path) -> None:
    source = HUB.replace("{0..2}", "0")
    defs = load(tmp_path, source, {"s": "", "every": ", files: all"})
    assert partitions(defs, "s") == partitions(defs, "every") == ["00000/0000000000-0000001000"]


def test_all_of_a_corpus_that_is_defined_elsewhere_is_refused() -> None:
    split = DatasetSplit(name="s", corpus="elsewhere", files="all")
    with pytest.raises(SettingsError, match="no corpus 'elsewhere' is defined here"):
        split.files_of(None)
    assert DatasetSplit(name="s", corpus="elsewhere").files_of(None) == (0,)


def test_files_that_are_not_here_have_no_size(tmp_path: Path) -> None:
    local = {"kind": "local", "path": [str(tmp_path / "none.parquet")]}
    assert RawCorpus(name="c", source=local).bytes_known(Layout(tmp_path)) == [None]
    hub = {"kind": "hub", "repo": "a/b", "path": "c-{0..1}.parquet"}
    assert RawCorpus(name="c", source=hub).bytes_known(Layout(tmp_path)) == [None, None]


def test_a_backfill_is_one_run_unless_the_yaml_says_how_many_partitions_a_run_takes(
    parquets: list[Path], tmp_path: Path
) -> None:
    source = f"{{kind: local, path: {[str(path) for path in parquets]}}}"
    several = ", backfill: {partitions_per_run: 2}"
    defs = load(tmp_path, source, {"one": "", "several": several})
    graph = defs.resolve_asset_graph()
    for split, most in (("one", None), ("several", 2)):
        for asset in ("token_chunks", "pickle_shards", "meta_json", "dataset", "report"):
            policy = graph.get(dg.AssetKey([split, asset])).backfill_policy
            assert policy is not None
            assert policy.max_partitions_per_run == (most if asset == "token_chunks" else None)
    tags = defs.resolve_job_def("several").tags
    assert tags["dagster/asset_partition_range_end"] == partitions(defs, "several")[-1], "one run"


def test_ten_thousand_files_are_defined_in_a_second_of_a_core(tmp_path: Path) -> None:
    source = "{kind: local, path: '/none/{0000..9999}.parquet'}"
    held_out = ", files: '5000-9999', held_out_from: [train]"
    started = time.process_time()
    defs = load(tmp_path, source, {"train": ", files: '0-4999'", "validation": held_out})
    assert len(partitions(defs, "train")) == len(partitions(defs, "validation")) == 5_000
    assert time.process_time() - started < 10  # half of one, most often
