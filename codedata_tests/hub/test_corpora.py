"""Corpora and tokenizers of the hub as assets: pins, several files, splits over them, freshness."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from huggingface_hub import constants, file_download

from codedata.cli.materialize import runs_of
from codedata.components.raw_corpus import RawCorpus, files_job
from codedata.components.split_assets import build_split
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SplitSpec
from codedata.errors import CorpusError, TokenizerError
from codedata.hub import client
from codedata.layout import Layout
from codedata.recipe.settings import Settings
from codedata.reporting.split_report import report_on
from codedata.resources import ChunkExecutor, DataRoot, DatasetIOManager, Datasets
from codedata.run.matches_transformers import TransformersCheck
from codedata.sources.record import Corpus, read_corpus
from codedata.store.dataset_folder import Dataset, open_dataset, read_facts
from codedata.tokenize import tokenizer_files
from codedata.tokenize.tokenizer_files import TokenizerFiles, find_tokenizer
from codedata.tokenize_data import tokenize_data
from codedata_tests import scenario
from codedata_tests.components.small_platform import SWITCHES, failure
from codedata_tests.hub.server import Hub, Repo
from codedata_tests.said import Said

FILES = {
    f"data/c/train-{number:05d}-of-00003.parquet": documents
    for number, documents in enumerate(
        [
            scenario.c_documents(60),
            scenario.c_documents(25, seed=8),
            scenario.c_documents(40, seed=9),
        ]
    )
}
PATTERN = "data/c/train-{00000..00002}-of-00003.parquet"


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    return {
        name: scenario.write_parquet(folder / Path(name).name, documents).read_bytes()
        for name, documents in FILES.items()
    }


@pytest.fixture
def repo(hub: Hub, files: dict[str, bytes]) -> Repo:
    return hub.add_repo("owner/data", files)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


def corpus_of(path: str | list[str] = PATTERN, **options: Any) -> RawCorpus:
    return RawCorpus(
        name="c", source={"kind": "hub", "repo": "owner/data", "path": path, **options}
    )


ONE = next(iter(FILES))


def materialize(layout: Layout, said: Said, corpus: RawCorpus, **options: Any) -> Corpus:
    return corpus.materialize(layout, said.reporter, **options)


def test_what_there_is_to_fetch_is_told_beforehand_and_not_fetched(
    hub: Hub, layout: Layout, said: Said, tmp_path: Path
) -> None:
    documents = scenario.c_documents(400)
    path = scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=20)
    data = path.read_bytes()
    hub.add_repo("owner/data", {"c.parquet": data})
    num_chars = len(scenario.plain_text(documents)) // 4
    folder = layout.corpus("c")
    quarter = range(len(data) // 8, len(data) // 4)  # of the whole file, of which text is a part
    whole = range(len(data), len(data) + 1)
    for options, expected in (({"first_chars": num_chars}, quarter), ({}, whole)):
        corpus = corpus_of("c.parquet", **options)
        told = corpus.typed_source.bytes_to_fetch(0, folder, said.reporter)
        assert not folder.exists()
        assert told in expected
        materialize(layout, said, corpus)
        hub.clear()
        assert corpus.typed_source.bytes_to_fetch(0, folder, said.reporter) == 0
        assert not hub.requests
        shutil.rmtree(folder)


def test_parts_that_are_too_few_or_gone_are_told_as_something_to_fetch(
    hub: Hub, layout: Layout, said: Said, tmp_path: Path
) -> None:
    path = scenario.write_parquet(
        tmp_path / "c.parquet", scenario.c_documents(100), row_group_size=5
    )
    hub.add_repo("owner/data", {"c.parquet": path.read_bytes()})
    folder = layout.corpus("c")

    def told(first_chars: int | None) -> int:
        options = {} if first_chars is None else {"first_chars": first_chars}
        source = corpus_of("c.parquet", **options).typed_source
        return source.bytes_to_fetch(0, folder, said.reporter)

    part = materialize(layout, said, corpus_of("c.parquet", first_chars=100)).part
    assert part is not None
    num_chars = sum(each.num_chars for each in part.parts) - 1
    assert told(1) == told(100) == told(num_chars) == 0
    assert 0 < told(num_chars + 1) < len(path.read_bytes()) == told(None)
    [parquet] = folder.glob("parts/*/*.parquet")
    parquet.unlink()
    assert told(100) > 0


def test_a_file_is_recorded_with_its_commit_and_then_costs_no_request(
    hub: Hub, repo: Repo, layout: Layout, said: Said, files: dict[str, bytes]
) -> None:
    corpus = corpus_of(ONE)
    record = materialize(layout, said, corpus)
    commit = repo.refs["main"]
    assert record.origin == {
        "kind": "hub", "repo": "owner/data", "path": ONE, "revision": "main", "commit": commit,
    }  # fmt: skip
    assert Path(record.path).read_bytes() == files[ONE]
    hub.clear()
    assert materialize(layout, said, corpus) == record == read_corpus(layout.corpus("c"))
    assert not hub.requests
    pin = layout.corpus("c") / "pin.json"
    for damaged in (b"", b"[]", b"{}", b'{"repo": "owner/data", "revision": "main", "commit": 5}'):
        pin.write_bytes(damaged)
        assert materialize(layout, said, corpus) == record
        assert json.loads(pin.read_bytes())["commit"] == commit, "a damaged pin is resolved anew"


def test_a_branch_that_moves_on_changes_nothing_until_update(
    hub: Hub, repo: Repo, layout: Layout, said: Said, files: dict[str, bytes]
) -> None:
    for corpus in (corpus_of(ONE), corpus_of(ONE, first_chars=1000)):
        first = repo.refs["main"]
        assert materialize(layout, said, corpus).origin["commit"] == first
        newer = repo.commit({**repo.files(), "note": first.encode()})
        assert materialize(layout, said, corpus).origin["commit"] == first
        assert materialize(layout, said, corpus, update=True).origin["commit"] == newer
        assert materialize(layout, said, corpus).origin["commit"] == newer
    other = corpus_of(ONE, revision=first)
    assert materialize(layout, said, other).origin["commit"] == first, "another revision, no pin"


def test_what_the_hub_refuses_names_corpus_file_cause_and_ways_out(
    hub: Hub, repo: Repo, layout: Layout, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.gated = True
    for first_chars in (None, 1000):
        with pytest.raises(CorpusError) as refusal:
            materialize(layout, said, corpus_of(ONE, first_chars=first_chars))
        assert str(refusal.value) == (
            f"corpus 'c': the hub does not give {ONE} of owner/data at 'main': its terms must be "
            f"accepted first: log in and accept them on {hub.address}/datasets/owner/data; make a "
            f"token on {hub.address}/settings/tokens, then set HF_TOKEN to it or run `hf auth "
            "login`; or download the file and set CODEDATA_CORPUS to its path"
        )
    assert not (layout.corpus("c") / "corpus.json").exists()
    monkeypatch.setenv("CODEDATA_CORPUS", "c.parquet")
    with pytest.raises(CorpusError, match=r"one file in the place .* has 3; unset it"):
        materialize(layout, said, corpus_of())


# Several files, through Dagster


class Platform:
    """A corpus of three files, and splits over it."""

    def __init__(self, layout: Layout, tokenizer: Path, instance: dg.DagsterInstance) -> None:
        self.layout = layout
        self.tokenizer = tokenizer
        self.instance = instance

    def spec(self, name: str, files: tuple[int, ...], **switches: int) -> SplitSpec:
        settings = Settings(tokenizer_base=str(self.tokenizer), **{**SWITCHES, **switches})
        part = SplitPart(corpus="c", window=settings.window, files=files, corpus_files=3)
        return SplitSpec(
            name=name, parts=(part,), tokenizer_asset=None, settings=settings,
            matches_transformers=False, held_out_from={}, description="A split of the tests.",
        )  # fmt: skip

    def definitions(self, *specs: SplitSpec) -> dg.Definitions:
        store = DataRoot(root=str(self.layout.root))
        resources = {
            "store": store,
            "chunk_executor": ChunkExecutor(num_workers=1),
            "datasets": Datasets(store=store),
            "dataset_io_manager": DatasetIOManager(store=store),
        }
        return dg.Definitions.merge(
            corpus_of().build_defs(dg.ComponentTree.for_test().load_context),
            *(build_split(spec) for spec in specs),
            dg.Definitions(executor=dg.in_process_executor, resources=resources),
        )

    def run(self, job: str, *specs: SplitSpec, **options: Any) -> dg.ExecuteInProcessResult:
        return (
            self.definitions(*specs)
            .resolve_job_def(job)
            .execute_in_process(instance=self.instance, raise_on_error=False, **options)
        )

    def fetched(self) -> set[str]:
        """Partitions that the instance knows as materialized."""
        key = dg.AssetKey(["c", "raw_parquet"])
        return set(self.instance.get_materialized_partitions(key))


@pytest.fixture
def platform(layout: Layout, tokenizer_folder: Path, tmp_path: Path) -> Iterator[Platform]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Platform(layout, tokenizer_folder, instance)


def test_several_files_are_fetched_retried_and_kept_one_by_one(
    hub: Hub, repo: Repo, platform: Platform, files: dict[str, bytes]
) -> None:
    """The disk does not take the first; the second arrives damaged."""
    move, left = file_download._chmod_and_move, [OSError(28, "No space left on device")]

    def fail_once(source: Path, target: Path) -> None:
        if left:
            raise left.pop()
        move(source, target)

    first = repo.refs["main"]
    hub.fail(blobs=True, path="train-00001", flip_at=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_download, "_chmod_and_move", fail_once)
        said = failure(platform.run(files_job("c")))
    assert "2 of 3 files of c could not be had (00000, 00001); run again" in said
    assert "cannot be stored: [Errno 28] No space left on device; make room" in said
    assert platform.fetched() == {"00002"}
    repo.commit({**files, "newer": b""})
    hub.clear()
    assert platform.run(files_job("c")).success
    assert platform.fetched() == {"00000", "00001", "00002"}
    assert [path.rsplit("/", 1)[1] for path in hub.asked("HEAD")] == [
        Path(name).name for name in sorted(files)[:2]
    ]
    records = [read_corpus(platform.layout.corpus("c", file)) for file in range(3)]
    assert {record.origin["commit"] for record in records} == {first}
    assert [record.origin["path"] for record in records] == sorted(files)
    hub.clear()
    assert platform.run(files_job("c"), partition_key="00002").success
    assert not hub.requests, "what is here and right"


def plain(platform: Platform, file: int, folder: Path, **switches: int) -> Dataset:
    """What the script makes of one file."""
    settings = Settings(tokenizer_base=str(platform.tokenizer), **{**SWITCHES, **switches})
    path = Path(read_corpus(platform.layout.corpus("c", file)).path)
    tokenize_data(path, folder, settings, num_workers=1)
    return open_dataset(folder)


@pytest.mark.campaign
def test_a_split_over_several_files_is_what_the_script_makes_of_each_and_says_what_they_are(
    repo: Repo, platform: Platform, files: dict[str, bytes], tmp_path: Path
) -> None:
    """The third file's text ends inside the window, and keeps its number."""
    switches = {"starting_character": 500, "chars_to_tokenize": 180_000, "chunk_size": 60_000}
    some, last = platform.spec("some", (0, 2), **switches), platform.spec("last", (2,), **switches)
    assert "corpus 'c' is not materialized" in failure(platform.run("some", some))
    jobs = {job.name: job for job in platform.definitions(some).resolve_all_job_defs()}
    for job, tags in runs_of(jobs, "some"):
        assert job.execute_in_process(instance=platform.instance, tags=tags).success
    assert platform.fetched() == {"00000", "00002"}, "no other file"
    made = open_dataset(platform.layout.dataset("some"), verify=True)
    parts = {file: plain(platform, file, tmp_path / str(file), **switches) for file in (0, 2)}
    assert [ids.tolist() for ids in made.shards] == [
        ids.tolist() for part in parts.values() for ids in part.shards
    ]
    assert [entry.chars for entry in made.entries] == [
        entry.chars and entry.chars._replace(file=file)
        for file, part in parts.items()
        for entry in part.entries
    ]
    assert platform.run("last", last).success
    old, new = repo.refs["main"], repo.commit({**files, "more": b""})
    config = {"ops": {"c__raw_parquet": {"config": {"update": True}}}}
    assert platform.run(files_job("c"), some, partition_key="00002", run_config=config).success
    mixed = failure(platform.run("some", some))
    assert f"file 0 of corpus 'c' is of commit {old}, but file 2 of corpus 'c' of {new}" in mixed
    assert platform.run(files_job("c"), some, partition_key="00000").success, "as it is pinned"
    assert platform.run("some", some).success
    facts = [read_facts(platform.layout.dataset(name)) for name in ("some", "last")]
    of_some, of_last = (each for each in facts if each is not None)
    assert (of_some.corpus["commit"], [*of_some.files]) == (new, [0, 2])
    assert (of_last.corpus["commit"], [*of_last.files]) == (old, [2])
    for file, each in of_some.files.items():
        record = read_corpus(platform.layout.corpus("c", file))
        assert (each["sha256"], each["path"]) == (record.sha256, record.origin["path"])
    report = report_on(platform.layout, ["last", "some"])
    assert report.splits[0].corpus.endswith(", file 2")
    assert report.splits[1].corpus == f"owner/data, {new}, 2 files (0, 2)"


def test_one_chunk_of_one_file_opens_no_other_file(
    repo: Repo, platform: Platform, said: Said
) -> None:
    spec = platform.spec("some", (0, 1), chars_to_tokenize=20_000)
    corpus_of().materialize(platform.layout, said.reporter, file=1)
    [key] = [key for key in spec.chunk_ranges if key.startswith("00001/")]
    run = platform.run("some", spec, partition_key=key)
    assert "corpus 'c' is not materialized" in failure(run), "publishing needs all"
    assert platform.instance.get_materialized_partitions(dg.AssetKey(["some", "token_chunks"])) == {
        key
    }


# Freshness


def freshness(platform: Platform) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    run = platform.run("c_freshness")
    assert run.success
    [observation] = run.asset_observations_for_node("c__hub_revision")
    [check] = run.get_asset_check_evaluations()
    metadata = {name: value.value for name, value in observation.metadata.items()}
    return metadata, check


def test_a_newer_commit_on_the_hub_is_observed_and_warned_of_and_so_are_files_of_two(
    hub: Hub, repo: Repo, platform: Platform, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(file: int, *, update: bool = False) -> None:
        corpus_of().materialize(platform.layout, said.reporter, file=file, update=update)

    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 2.0)
    hub.fail(path="/revision/main", stall_after=0)
    first = repo.refs["main"]
    fetch(0)
    observed, check = freshness(platform)
    assert (observed["commit here"], observed["newest commit"]) == (first, first)
    assert check.passed
    num_asked = len([path for path in hub.asked() if "/revision/" in path])
    assert num_asked == 3, "by the asset and its check, and again"
    newer = repo.commit({**repo.files(), "withdrawn": b""})
    fetch(1, update=True)
    observed, check = freshness(platform)
    assert observed["commit here"] == ", ".join(sorted([first, newer]))
    assert observed["newest commit"] == newer
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.description is not None
    assert "codedata materialize --update" in check.description


# The tokenizer


@pytest.fixture
def tokenizer_repo(hub: Hub, tokenizer_folder: Path) -> Repo:
    files = {path.name: path.read_bytes() for path in tokenizer_folder.iterdir()}
    return hub.add_repo("owner/tok", files, kind="model")


Find = Callable[..., TokenizerFiles]


@pytest.fixture
def find(said: Said, tmp_path: Path) -> Find:
    return partial(find_tokenizer, pins=tmp_path, reporter=said.reporter)


def test_a_tokenizer_is_fetched_at_one_commit_of_each_revision_and_then_costs_no_request(
    hub: Hub, tokenizer_repo: Repo, tokenizer_folder: Path, find: Find, tmp_path: Path
) -> None:
    """A pin of an older codedata, one a repository, is read."""
    old = tokenizer_repo.refs["main"]
    pin = {"repo": "owner/tok", "revision": "main", "commit": old}
    (tmp_path / "owner--tok.json").write_text(json.dumps(pin), encoding="utf-8")
    new = tokenizer_repo.commit({**tokenizer_repo.files(), "tokenizer_config.json": b"{}"})
    tokenizer_repo.refs["v2"] = old
    found = find("owner/tok")
    assert found.revision == find("owner/tok@v2").revision == old
    assert found.fingerprint == find_tokenizer(str(tokenizer_folder)).fingerprint
    tokenizer_repo.refs["v2"] = new
    hub.clear()
    assert find("owner/tok") == found
    assert find("owner/tok@v2").revision == old
    assert not hub.requests
    moved = find("owner/tok", update=True)
    assert moved.revision == new
    assert moved.fingerprint != found.fingerprint
    assert find("owner/tok") == moved
    assert find("owner/tok@v2").revision == old
    named = find(f"owner/tok@{old}")
    assert (named.revision, named.fingerprint) == (old, found.fingerprint)


def test_a_tokenizer_without_config_is_remembered_as_such(
    hub: Hub, find: Find, tokenizer_folder: Path
) -> None:
    files = {"tokenizer.json": (tokenizer_folder / "tokenizer.json").read_bytes()}
    hub.add_repo("owner/bare", files, kind="model")
    for expected in (True, False):
        hub.clear()
        assert find("owner/bare").tokenizer_config is None
        assert bool(hub.requests) == expected


def test_a_tokenizer_that_is_not_given_or_of_absurd_size_is_refused(
    hub: Hub, tokenizer_repo: Repo, find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer_repo.gated = True
    with pytest.raises(TokenizerError, match=rf"accept them on {hub.address}/owner/tok; make"):
        find("owner/tok")
    tokenizer_repo.gated = False
    monkeypatch.setattr(tokenizer_files, "MAX_TOKENIZER_BYTES", 1000)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json has [\d,]+ bytes there, "):
        find("owner/tok")
    assert hub.bytes_sent == 0


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a machine that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a"


@pytest.mark.parametrize("is_deaf", [False, True], ids=["refuses", "says nothing"])
def test_a_misspelt_folder_is_said_at_once_and_a_hub_that_is_not_reached_soon_given_up(
    hub: Hub, find: Find, said: Said, deaf: str, monkeypatch: pytest.MonkeyPatch, *, is_deaf: bool
) -> None:
    assert client.ASKING_SECONDS == 10
    monkeypatch.setattr(client, "ASKING_SECONDS", 0.5)
    monkeypatch.setattr(client, "WAITS", (0.2, 0.4, 60.0))
    address = deaf if is_deaf else "http://127.0.0.1:9/a"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    started = time.monotonic()
    with pytest.raises(TokenizerError, match=r"is no folder or file here, and .* given up"):
        find("models/my-tokenizr")
    assert time.monotonic() - started < 50, "it is not waited for a minute"
    asking = "tokenizer 'models/my-tokenizr' is no folder or file here; asking the hub for it"
    assert said[0] == asking


def test_the_time_is_for_asking_and_not_for_a_hub_that_has_no_time_or_for_the_transfer(
    hub: Hub, tokenizer_repo: Repo, find: Find, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ASKING_SECONDS", 0.2)
    monkeypatch.setattr(client, "WAITS", (0.3,) * 6)
    hub.fail(method="HEAD", status=503, times=2)
    slow = hub.fail(path="tokenizer.json", block_seconds=0.2)
    assert find("owner/tok").revision
    assert len([line for line in said if "trying again" in line]) == 2
    assert slow.times == 0


def test_of_a_tokenizer_that_is_here_or_may_not_be_asked_for_nothing_is_said(
    hub: Hub, tokenizer_repo: Repo, find: Find, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(TokenizerError, match="HF_HUB_OFFLINE is set"):
            find("owner/tok")
    assert not said
    find("owner/tok")
    said.clear()
    find("owner/tok")
    find_tokenizer("owner/tok", reporter=said.reporter)
    assert not said


def answer_about(source: str, find: Find) -> dict[str, Any]:
    with closing(TransformersCheck(find(source), [])) as check:
        return check.ask({"texts": [], "has_documents": False})


def test_config_json_is_fetched_for_transformers_and_else_why_it_is_not_is_told(
    hub: Hub, tokenizer_repo: Repo, find: Find
) -> None:
    """Of a tokenizer that is code of its own, so that the process has nothing to import."""
    own_code = {"tokenizer_config.json": b'{"auto_map": ["code.Own", null]}'}
    tokenizer_repo.commit({**tokenizer_repo.files(), **own_code})
    hub.fail(method="HEAD", path="/config.json", status=503)
    answer = answer_about("owner/tok", find)
    assert "503 Service Unavailable; given up at once" in answer["no_config"]
    assert not answer["is_final"]
    answer = answer_about("owner/tok", find)
    assert (answer["no_config"], answer["is_final"]) == (None, True)
    hub.clear()
    assert answer_about("owner/tok", find) == answer
    assert not hub.requests
    files = {name: data for name, data in tokenizer_repo.files().items() if name != "config.json"}
    hub.add_repo("owner/bare", files, kind="model")
    answer = answer_about("owner/bare", find)
    assert "the repository has no config.json" in answer["no_config"]
    assert answer["is_final"]
