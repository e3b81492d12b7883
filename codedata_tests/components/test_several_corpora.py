"""Several corpora in one split: each as if it were alone, in order; each file says whose it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from codedata.cli import main
from codedata.cli.definition_errors import user_error
from codedata.cli.dry_run import DryRun
from codedata.cli.materialize import runs_of
from codedata.cli.split_states import states_of
from codedata.components.split_parts import open_windows, require_consistent
from codedata.components.split_recipe import specs_of
from codedata.components.split_spec import SplitSpec, open_split, records_of
from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.resources import resources
from codedata.run.build import build
from codedata.sources.record import record_corpus
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.components.yamls import tree_of

CORPUS = """\
type: codedata.components.RawCorpus
attributes: {{name: {name}, source: {{kind: local, path: "{path}"}}}}
"""
SPLIT = """\
type: codedata.components.DatasetSplit
attributes:
  {{name: {name}, tokenizer_base: '{tokenizer}', pad_token: 534, seq_length: 64,
   min_sample_length: 10, starting_character: 100, chunk_size: 4000,
   matches_transformers: false{more}}}
"""
SWITCHES: dict[str, Any] = {
    "pad_token": 534, "seq_length": 64, "min_sample_length": 10, "starting_character": 100,
    "chunk_size": 4000,
}  # fmt: skip
BOTH = ", corpora: [{name: b, chars: 9000, files: 1-2}, {name: a}], chars_to_tokenize: 5000"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic


class Project:
    """Corpora `a`, of one file, and `b`, of three, with splits over them."""

    def __init__(self, folder: Path, tokenizer: Path) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        self.a = scenario.write_parquet(folder / "a.parquet", scenario.c_documents(40, 1))
        self.b = [
            scenario.write_parquet(folder / f"b-{n}.parquet", scenario.c_documents(40, 2 + n))
            for n in range(3)
        ]
        self.layout = Layout.from_environment()
        self._loaded = 0

    def load(self, **splits: str) -> dg.Definitions:
        """The definitions, with the rest of the YAML of each split."""
        self._loaded += 1
        paths = {"a": self.a, "b": self.folder / "b-{0..2}.parquet"}
        corpora = {name: CORPUS.format(name=name, path=path) for name, path in paths.items()}
        yamls = {
            name: SPLIT.format(name=name, tokenizer=self.tokenizer, more=more)
            for name, more in splits.items()
        }
        tree = tree_of(self.folder / f"{self.folder.name}_{self._loaded}", {**corpora, **yamls})
        return dg.Definitions.merge(tree.build_defs(), dg.Definitions(resources=resources))

    def spec(self, more: str) -> SplitSpec:
        return specs_of(self.load(s=more))["s"]

    def refusal(self, **splits: str) -> str:
        with pytest.raises(Exception, match="Error while") as found:
            self.load(**splits)
        return str(user_error(found.value))

    def states(self, defs: dg.Definitions) -> list[str]:
        [state] = states_of(defs, self.layout)
        return [state.state, *state.why]


@pytest.fixture
def project(tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path / "root"))
    return Project(tmp_path, tokenizer_folder)


def test_a_split_over_two_corpora_is_what_each_file_alone_gives_in_order_and_says_whose_it_is(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    defs = project.load(both=BOTH)
    DryRun(defs, ["both"], force=False).say("both")
    said = capsys.readouterr().out
    assert "both: up to 18,000 characters of 2 files of b, then up to 5,000 characters of a" in said
    assert "how long is known when b/raw_parquet and a/raw_parquet are here" in said
    jobs = {job.name: job for job in defs.resolve_all_job_defs()}
    runs = [*runs_of(jobs, "both")]
    assert [job.name for job, _ in runs] == ["b_files", "both"]
    with dg.DagsterInstance.ephemeral() as instance:
        for job, tags in runs:
            assert job.execute_in_process(instance=instance, tags=tags).success
    made = open_dataset(project.layout.dataset("both"), verify=True)
    alone = {10_000: (project.a, 5000), 1: (project.b[1], 9000), 2: (project.b[2], 9000)}
    shards, whose = [], []
    for number in (1, 2, 10_000):
        parquet, chars = alone[number]
        one = build(
            parquet, tmp_path / str(number), tokenizer_base=str(project.tokenizer),
            chars_to_tokenize=chars, **SWITCHES,
        )  # fmt: skip
        shards += [(one.folder / f"dump-{n}.pkl").read_bytes() for n in range(len(one.entries))]
        whose += [entry.chars and entry.chars._replace(file=number) for entry in one.entries]
    assert shards == [(made.folder / f"dump-{n}.pkl").read_bytes() for n in range(len(shards))]
    assert [entry.chars for entry in made.entries] == whose
    assert made.facts is not None
    assert made.facts.corpora == ("b", "a")
    said = {n: (f["corpus"], f.get("chars_to_tokenize")) for n, f in made.facts.files.items()}
    assert said == {1: ("b", None), 2: ("b", None), 10_000: ("a", "5000")}
    assert made.facts.shown_corpus == "3 files (2 of b, 1 of a)"
    page = project.layout.report("both").read_text(encoding="utf-8")
    of_a = sum(each.num_samples for each in made.entries if each.chars and each.chars.file > 2)
    assert f"Of a</th><td>{of_a} samples, {of_a * 64:,} tokens" in page
    main(["show", str(made.folder)])
    assert f"\n  of a: {of_a} samples, {of_a * 64} tokens\n" in capsys.readouterr().out
    windows = open_windows(project.layout, specs_of(defs)["both"].parts)
    assert [each.chars for each in windows] == [
        CharRange(100, 9100, 1),
        CharRange(100, 9100, 2),
        CharRange(100, 5100, 10_000),
    ]
    assert project.states(defs) == ["made"]
    scenario.write_parquet(project.b[2], ["int other;"] * 999)
    record_corpus(project.layout.corpus("b", 2), project.b[2], {"kind": "local"})
    assert "corpus b, file 2, is another than it was made of" in project.states(defs)
    now = BOTH.replace("{name: a}", "{name: a, chars: 4000}").replace("1-2", "1")
    assert project.states(project.load(both=now))[1:3] == [
        "files of corpus b were 2, are now 1",
        "chars_to_tokenize of corpus a was 5000, is now 4000",
    ]
    swapped = project.load(
        both=", corpora: [{name: a}, {name: b, files: 1-2}], chars_to_tokenize: 9"
    )
    assert "corpora were b, a, are now a, b" in project.states(swapped)
    one = project.load(both=", corpus: b, files: 1-2, chars_to_tokenize: 9000")
    assert "corpora were b, a, are now b" in project.states(one)


def test_files_are_numbered_by_their_corpus_s_place_and_what_is_not_said_is_the_split_s(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = project.spec(BOTH)
    assert spec.files == (1, 2, 10_000)
    assert spec.partition_keys[-3:] == [
        "00002/0000008100-0000009100",
        "10000/0000000100-0000004100",
        "10000/0000004100-0000005100",
    ]
    assert spec.corpus_folder(project.layout, 2) == project.layout.corpus("b", 2)
    assert spec.corpus_folder(project.layout, 10_000) == project.layout.corpus("a")
    assert spec.has_chunk(CharRange(4100, 5100, 10_000), None)
    assert not spec.has_chunk(CharRange(4100, 5100, 1), 10_000), "b's windows are longer"
    assert not spec.has_chunk(CharRange(4100, 5100, 20_000), None)
    every = project.spec(", corpora: [{name: a, files: 0}, {name: b}], files: 2")
    assert every.files == (0, 10_002)
    assert every.takes_all, "of a corpus that is not the reference's"
    assert every.partition_keys == ["00000", "10002"]
    one, alone = project.spec(", corpora: [{name: b}]"), project.spec(", corpus: b")
    assert (one.parts, one.code_version("chunk_size")) == (
        alone.parts,
        alone.code_version("chunk_size"),
    )
    monkeypatch.setenv("CODEDATA_S_CHARS_TO_TOKENIZE", "70")
    assert {part.chars for part in project.spec(BOTH).parts} == {"70"}


def test_corpora_that_are_none_or_named_twice_are_refused_in_one_line(project: Project) -> None:
    def refused(more: str) -> str:
        return project.refusal(s=more).partition("defs.yaml:")[2]

    assert "has both corpus and corpora" in refused(", corpus: a, corpora: [{name: b}]")
    assert "corpora of split 's' is []" in refused(", corpora: []")
    assert "names 'a' twice" in refused(", corpora: [{name: a}, {name: b}, {name: a}]")
    assert "files is true, as YAML also reads yes" in refused(", corpora: [{name: b, files: yes}]")
    assert "chars of corpus 'b': chars_to_tokenize" in refused(", corpora: [{name: b, chars: -1}]")
    assert "files of corpus 'b' is '2-1'" in refused(", corpora: [{name: b, files: 2-1}]")
    assert "corpus 'b' has 3: name 0 to 2" in refused(", corpora: [{name: a}, {name: b, files: 3}]")
    assert "are more than 10000 partitions" in refused(
        ", corpora: [{name: a, chars: 39000000}, {name: b, chars: 400000}]"
    )


def test_splits_that_share_one_of_several_corpora_may_share_no_characters_of_it(
    project: Project,
) -> None:
    first = ", corpora: [{name: a, chars: 1000}, {name: b, files: 0-1, chars: 2000}]"
    last = ", corpora: [{name: b, files: %s}], chars_to_tokenize: 10, held_out_from: [first]"
    said = project.refusal(first=first, last=last % "1-2")
    assert "held out from 'first', but characters 100 to 110 of file 1 are in both" in said
    defs = project.load(first=first, last=last % "2")
    assert sorted(specs_of(defs)) == ["first", "last"]


def test_two_files_of_a_split_that_are_one_text_are_refused_by_name(
    project: Project,
) -> None:
    """The list of files shifted by one since the first of them was recorded."""
    record = record_corpus(project.layout.corpus("b", 0), project.b[1], {"kind": "local"})
    record_corpus(project.layout.corpus("b", 1), project.b[1], {"kind": "local"})
    spec = project.spec(", corpora: [{name: b, files: 0-1}, {name: a}]")
    with pytest.raises(CorpusError) as found:
        records_of(spec, project.layout, files=(0, 1))
    assert str(found.value) == (
        f"file 0 of corpus 'b' and file 1 of corpus 'b' are the same text, {project.b[1]}; the "
        "list of its files changed since one was recorded: materialize b/raw_parquet, all its "
        "files, again"
    )
    with pytest.raises(CorpusError, match=r"file 0 of corpus 'a' are .* out of one of the two"):
        require_consistent(spec.parts, {0: record, 10_000: record})
    require_consistent(spec.parts, {0: record, 1: replace(record, path="a copy of it")})


def test_files_of_a_corpus_that_are_of_two_commits_are_refused_by_name(
    project: Project, tokenizer_folder: Path
) -> None:
    def record(corpus: Path, parquet: Path, commit: str) -> None:
        record_corpus(corpus, parquet, {"kind": "hub", "repo": "owner/data", "commit": commit})

    for file, commit in enumerate(["1a", "1a", "2b"]):
        record(project.layout.corpus("b", file), project.b[file], commit)
    record(project.layout.corpus("a"), project.a, "3c")  # another corpus may be of another
    tokenizer = find_tokenizer(str(tokenizer_folder))
    more = ", corpora: [{name: b, files: %s, chars: 100}, {name: a, chars: 100}]"
    spec = project.spec(more % "0-1")
    assert len(records_of(spec, project.layout)) == 3
    assert len(open_split(spec, project.layout, tokenizer).fingerprints) == 3
    spec = project.spec(more % "1-2")
    said = (
        r"^file 1 of corpus 'b' is of commit 1a, but file 2 of corpus 'b' of 2b; materialize "
        r"b/raw_parquet, all its files, again"
    )
    with pytest.raises(CorpusError, match=said):
        records_of(spec, project.layout)
    with pytest.raises(CorpusError, match=said):
        open_split(spec, project.layout, tokenizer)
