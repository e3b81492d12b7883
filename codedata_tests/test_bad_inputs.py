"""What a user can get wrong, surface by surface: refused at once, in words that help.

Each is refused with one message that names the place (file or field), the value found and the
remedy, within 2 s and before any work: nothing is made, nothing is left. A bare traceback fails it.
What the limits of the switches and the damages of a meta or a shard are in full is for the tests of
recipe/ and format/; here each surface shows that it passes the refusal on.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from codedata import PickledTrainerDataset, cli, load_dataset, tokenize_data
from codedata.cli.definition_errors import require_all_defined, user_error
from codedata.components.raw_corpus import RawCorpus
from codedata.errors import CodedataError
from codedata.format.meta import META_NAME
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.progress import TERMINAL
from codedata_tests import scenario

SECONDS = 2.0
"""The limit for a refusal, of this process's time: the machine may be busy."""

DIGITS = "9" * 5000
LONG = "n" * 300


def filled(part: str, **places: Path) -> str:
    """With its folders in it: `{w}`, the one of bad files, and `{here}`, the test's own."""
    for name, path in places.items():
        part = part.replace(f"{{{name}}}", str(path))
    return part


def assert_helps(message: str, *says: str, **places: Path) -> None:
    """The message says place, value and remedy, and not too much besides."""
    assert "Traceback" not in message
    for part in says:
        assert filled(part, **places) in message
    assert len(message) < 2500


@contextmanager
def quickly(folder: Path) -> Iterator[None]:
    """Soon, and with nothing made or left in a folder."""
    before, start = sorted(folder.rglob("*")), time.process_time()
    yield
    assert time.process_time() - start < SECONDS
    assert sorted(folder.rglob("*")) == before, "before any work"


def refused_by(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """What a command line prints to stderr when it refuses; an exception is a bare traceback."""
    capsys.readouterr()
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
        assert status == 2
    assert status in {1, 2}, arguments
    said = capsys.readouterr().err
    if status == 1:
        [said] = said.splitlines()
    return said


def refused(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    with pytest.raises(CodedataError) as refusal:
        call(*arguments, **options)
    return str(refusal.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: things that no dataset may replace."""
    for name in ("file", "full/notes.txt", "nested/inner/x"):
        put(tmp_path / name, b"mine")
    put(tmp_path / "linked" / "dump-0.pkl", "../file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    return tmp_path


# Bad files


def put(path: Path, content: Any) -> None:
    """Bytes, a column of a parquet, a table, a link's target, or what a function makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case bytes():
            path.write_bytes(content)
        case pa.Array():
            pq.write_table(pa.table({"content": content}), path)
        case pa.Table():
            pq.write_table(content, path)
        case str():
            path.symlink_to(content)
        case None:
            pass
        case make:
            make(path)


TWICE = pa.table([pa.array(["a"]), pa.array(["b"])], names=["content", "content"])
NAME_ONE, FETCH, DOCUMENTS = "name a parquet file that exists", "fetch it again", "with documents"
RENAME = "rename the one that holds the documents"
BAD_PARQUETS: dict[str, tuple[Any, str, str]] = {
    "missing": (None, "cannot be read: No such file", NAME_ONE),
    "dangling": ("nowhere", "cannot be read: No such file", NAME_ONE),
    "folder": (Path.mkdir, "is a folder; ", "name one parquet file"),
    "loop": ("loop.parquet", "cannot be read: Too many levels of symbolic links", NAME_ONE),
    "pipe": (os.mkfifo, "is a pipe or device", "save what it gives and name that file"),
    "empty": (b"", "is empty", FETCH),
    "html": (b"<!DOCTYPE html><html>", "is a web page", "a download that needs a login"),
    "csv": (b"content,size\nint,3\n", "starts with b'content,'", "name one"),
    "footer": (b"PAR1" + b"\xff" * 50 + b"PAR1", "is not a readable parquet file", FETCH),
    "integers": (pa.array([1, 2]), "has type int64", "it must be text"),
    "binary": (pa.array([b"ok", b"int \xff;"], pa.binary()), "row 1 of", "remove that row"),
    "blank": (pa.array(["", ""]), "2 an empty 'content'", DOCUMENTS),
    "twice": (TWICE, "has 2 columns named 'content'", RENAME),
}  # fmt: skip


def with_dropout(path: Path) -> None:
    tokenizer = json.loads(path.read_bytes())
    tokenizer["model"]["dropout"] = 0.1
    path.write_text(json.dumps(tokenizer), encoding="utf-8")


SAVE, NAME_TOKENIZER = "save the tokenizer again", "name a folder, a tokenizer.json or a repository"
BAD_TOKENIZERS: dict[str, tuple[Any, str, str]] = {
    "t-empty/tokenizer.json": (b"", "Expecting value", SAVE),
    "t-binary/tokenizer.json": (b"\xff\xfe\0\0", "is not JSON", SAVE),
    "t-list/tokenizer.json": (b"[1]", "holds a JSON list", SAVE),
    "t-object/tokenizer.json": (b"{}", "is no tokenizer", SAVE),
    "t-nested/tokenizer.json": (b"[" * 100_000, "recursion", SAVE),
    "t-dropout/tokenizer.json":
        (with_dropout, "a BPE dropout", "dropout to null"),
    "c-text/tokenizer_config.json": (b"a config", "is not JSON", SAVE),
    "c-missing/tokenizer_config.json":
        (b'{"add_bos_token": true}', "bos_token None", "correct one"),
    "c-unknown/tokenizer_config.json":
        (b'{"add_bos_token": true, "bos_token": "<nope>"}', "bos_token '<nope>'", "correct one"),
}  # fmt: skip
NO_TOKENIZERS = [
    ("/no/such/folder", "tokenizer '/no/such/folder'", "does not exist here", NAME_TOKENIZER),
    ("a/b/c", "tokenizer 'a/b/c'", "does not exist here", NAME_TOKENIZER),
    ("owner/not-here", "tokenizer 'owner/not-here'", "HF_HUB_OFFLINE is set", "name their folder"),
    (LONG, "tokenizer 'nnnnn", "File name too long", NAME_TOKENIZER),
    ("{w}/none", "{w}/none", "has no tokenizer.json", "name that folder"),
    ("{w}/t-empty/tokenizer.json", "{w}/t-empty/tokenizer.json", "Expecting value", SAVE),
    *((f"{{w}}/{Path(name).parent}", f"{{w}}/{name}", found, remedy)
      for name, (_, found, remedy) in BAD_TOKENIZERS.items()),
]  # fmt: skip


@pytest.fixture(scope="module")
def bad_files(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Each as it says; and what is imported and compiled once, which is not the refusal's time."""
    folder = tmp_path_factory.mktemp("bad")
    for name, (content, *_) in BAD_PARQUETS.items():
        put(folder / f"{name}.parquet", content)
    for name, (content, *_) in BAD_TOKENIZERS.items():
        shutil.copytree(tokenizer_folder, (folder / name).parent)
        put(folder / name, content)
    (folder / "none").mkdir()
    shutil.copy(corpus, folder / "good.parquet")
    arguments = ["--data_file", str(folder / "good.parquet"), "--pad_token", "999999"]
    arguments += ["--tokenization_folder", str(folder / "made"), "--tokenizer_base"]
    for tokenizer in ("owner/not-here", str(tokenizer_folder)):
        assert tokenize_data.main([*arguments, tokenizer]) == 1
    return folder


# The script

USAGE, SUBFOLDER, ALONE = "usage: tokenize_data", "name a subfolder", "write its digits alone"
Case = tuple[str, ...]
"""A switch and its value; the place, the value and the remedy that are said."""

SWITCHES: list[Case] = [
    ("seq_length", "0", "seq_length", "not 0", "must be 1 to 16777216"),
    ("chunk_size", str(10**30), "chunk_size", f"not {10**30}", "must be 1 to"),
    ("num_workers", "0", "num_workers", "not 0", "must be 1 to 1024"),
    ("num_workers", "1025", "num_workers", "not 1025", "must be 1 to 1024"),
    ("num_workers", "two", "--num_workers", "'two'", ALONE),
    *(("seq_length", value, "--seq_length", repr(value), ALONE) for value in ("1e3", "", "٣x")),
    ("seq_length", DIGITS, "--seq_length", f"'{DIGITS[:200]}...'", ALONE),
    ("engine", "Auto", "--engine", "'Auto'", "pretokens"),
    ("starting_character", "999999999", "starting_character", "is 999999999", "choose a smaller"),
    *(("pad_token", value, "pad_token", value[:200], "name the id of one of its tokens, or")
      for value in ("99999", "2147483647", "1.5", "None", DIGITS)),
    ("pad_token", "", "pad_token", "is empty", "must be an id or name a token"),
    ("sequence", "5", "--sequence", "5", USAGE),
    ("no_lock=", "stray", "no_lock", "ignored explicit argument", USAGE),
]  # fmt: skip
PARQUETS: list[Case] = [
    *(("data_file", f"{{w}}/{name}.parquet", f"{{w}}/{name}.parquet", *says)
      for name, (_, *says) in BAD_PARQUETS.items()),
    ("data_file", "", ".", "is a folder; ", "name one parquet file"),
    ("data_file", "/dev/zero", "/dev/zero", "is a pipe or device", "name that file"),
    ("data_file", LONG, "nnnnn", "File name too long", NAME_ONE),
    ("data_file", "{w}/csv.parquet/x", "{w}/csv.parquet/x", "Not a directory", NAME_ONE),
]  # fmt: skip
TOKENIZERS: list[Case] = [
    *(("tokenizer_base", *row) for row in NO_TOKENIZERS),
    ("tokenizer_base", " \t", "tokenizer_base", "is empty", "must name a tokenizer"),
]
TARGETS: list[Case] = [
    ("tokenization_folder", *row)
    for row in [
        ("{here}/file", "{here}/file", "is a file", "name a folder"),
        ("{here}/file/below", "{here}/file", "is not writable", "name a folder elsewhere"),
        ("{here}/full", "{here}/full", "'notes.txt'", SUBFOLDER),
        ("{here}/nested", "{here}/nested", "'inner'", SUBFOLDER),
        ("{here}/linked", "{here}/linked", "'dump-0.pkl'", SUBFOLDER),
        ("", "the target .", "is or holds the working folder", SUBFOLDER),
        ("..", "the target ..", "holds", SUBFOLDER),
        ("/proc", "the target /proc", "is a mount point", SUBFOLDER),
        ("{w}", "{w}", "holds the input", SUBFOLDER),
        ("{here}/" + "n" * 250, "{here}", "File name too long", "name a folder"),
        ("{here}/not/yet/" + "n" * 250, "{here}", "File name too long", "name a folder"),
        ("a\0b", "the target", "null byte", "name a folder"),
    ]
]


@pytest.mark.parametrize("cases", [SWITCHES, PARQUETS, TOKENIZERS, TARGETS], ids=lambda c: c[0][0])
def test_the_script_refuses_what_one_of_its_switches_names(
    cases: list[Case],
    here: Path,
    bad_files: Path,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    right = ["--data_file", str(bad_files / "good.parquet"), "--num_workers", "1"]
    right += ["--tokenization_folder", str(here / "new" / "dataset"), "--pad_token", "534"]
    right += ["--tokenizer_base", str(tokenizer_folder)]
    places = {"w": bad_files, "here": here}
    for switch, value, *says in cases:
        wrong = f"--{switch}={filled(value, **places)}"
        with quickly(here), quickly(bad_files):
            said = refused_by(tokenize_data.main, [*right, wrong], capsys)
        assert "tokenize_data: error: " in said
        assert_helps(said, *says, **places)
    assert tokenize_data.main([*right, "--chars_to_tokenize", "20000"]) == 0, "else it works"


# Dataset folders: the command line and the loader

SAMPLES = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
Damage = Callable[[Path], object]


def meta(change: Callable[[dict[str, Any]], object]) -> Damage:
    """A change of the meta's JSON; the entries' hashes are left out, which would find it."""

    def damage(folder: Path) -> None:
        parsed = json.loads((folder / META_NAME).read_bytes())
        for entry in parsed.values():
            del entry["entry_sha256"]
        change(parsed)
        (folder / META_NAME).write_text(json.dumps(parsed), encoding="utf-8")

    return damage


def field(**fields: Any) -> Damage:
    return meta(lambda parsed: parsed["dump-0.pkl"].update(fields))


def in_place_of(name: str, content: Any) -> Damage:
    """Something else where a file was; `.` is the folder itself."""

    def damage(folder: Path) -> None:
        if name == ".":
            shutil.rmtree(folder)
        else:
            (folder / name).unlink()
        put(folder / name, content)

    return damage


def patched(name: str, at: int, byte: bytes) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:at] + byte + data[at + 1 :])

    return damage


SHARD, META, FIRST = "dump-0.pkl", "{here}/" + META_NAME, "{here}/dump-0.pkl"
PLAIN, HOSTILE = "is not a plain file", b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00falsetR."
AGAIN, COPY = "make the dataset again", "put the file itself in its place"
NAME_FOLDER = "name the folder of a dataset"
FOUND_BY_ALL: list[tuple[Damage, *tuple[str, ...]]] = [
    (shutil.rmtree, "{here}", "No such file", NAME_FOLDER),
    (in_place_of(".", b""), "{here}", "Not a dir", NAME_FOLDER),
    (in_place_of(".", "dangling"), "{here}", "No such file", NAME_FOLDER),
    (in_place_of(".", Path.mkdir), "{here}", "holds no dump-m", NAME_FOLDER),
    (in_place_of(META_NAME, "no"), META, "is a link to 'no'", COPY),
    (in_place_of(META_NAME, os.mkfifo), META, PLAIN, COPY),
    (in_place_of(META_NAME, b""), META, "Expecting value", AGAIN),
    (in_place_of(META_NAME, b"[1]"), META, "it is [1]", AGAIN),
    (meta(lambda m: m.update({"../dump-0.pkl": {}})), META, "'../dump-0.pkl'", AGAIN),
    (field(num_samples="two"), META, "num_samples of dump-0.pkl is 't", AGAIN),
    (field(entry_sha256="00"), META, "that it states, '00'", AGAIN),
    (in_place_of(SHARD, None), "{here}", "lacks dump-0.pkl", AGAIN),
    (lambda d: shutil.copy(d / SHARD, d / "dump-2.pkl"), "{here}", "holds dump-2.pkl", "remove it"),
    (in_place_of(SHARD, b""), FIRST, "is empty", AGAIN),
    (in_place_of(SHARD, "no"), FIRST, "it is a link to 'no'", COPY),
    (patched(SHARD, 9, b"K"), FIRST, "does not have the sha256", AGAIN),
    (patched(SHARD, 7, b"\7"), FIRST, "does not have the sha256", AGAIN),
    (in_place_of(SHARD, HOSTILE), FIRST, "does not have the sha256", AGAIN),
]  # fmt: skip
FOUND_BY_HASHES: list[tuple[Damage, *tuple[str, ...]]] = [
    (meta(lambda m: m), META, "is not as it was written", AGAIN),
    (patched(META_NAME, 0, b" {"), META, "is not as it was written", AGAIN),
    (field(author="me"), META, "is not as it was written", AGAIN),
]


@pytest.mark.parametrize("verify", [False, True], ids=["found by all", "found by hashes"])
def test_every_reader_refuses_a_damaged_folder(
    verify: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    train = tmp_path / "datasets" / "train"
    readers: list[Callable[..., Any]] = [
        lambda: [*PickledTrainerDataset(train, quiet=True, verify=verify)],
        lambda: [*load_dataset("train", verify=verify)],
    ]
    for damage, *says in FOUND_BY_HASHES if verify else FOUND_BY_ALL:
        scenario.write_dataset(train, SAMPLES, last_sample_tokens=[3, 3])
        assert cli.main(["show", str(train)]) == cli.main(["verify", str(train)]) == 0
        assert [len(read()) for read in readers] == [4, 4]
        damage(train)
        of_show = of_split = says
        if says[1] == "No such file":
            of_split = ["split 'train'", "has no dataset in", "run `codedata materialize train`"]
        with quickly(tmp_path):
            assert_helps(refused_by(cli.main, ["verify", str(train)], capsys), *says, here=train)
            for read, said in zip(readers, (says, of_split), strict=True):
                assert_helps(refused(read), *said, here=train)
            if verify:
                assert len(load_dataset("train")) == 4, "the control: only verify finds it"
            else:
                said = refused_by(cli.main, ["show", str(train)], capsys)
                assert_helps(said, *of_show, here=train)
        if train.is_dir():
            shutil.rmtree(train)
        else:
            train.unlink(missing_ok=True)


# The loader's arguments

NO_PATHS: list[tuple[Any, str, str]] = [
    (None, "None", "name one folder"),
    (["d", None], "None", "name one folder"),
    (b"d", "b'd'", "name one folder"),
    (dict, "dict", "name one folder"),
    ([], "no ", "name at least one"),
    ("a\0b", "null byte", NAME_FOLDER),
    ([LONG, "x"], "File name too long", NAME_FOLDER),
    ("", "''", "name one folder"),
]
NO_NAMES = [None, 5, "", b"d", ["d"]]
NO_FOLDERS = ["../train", "a/b", "a\0b", ".", LONG + "-", "ü"]


def test_the_loaders_refuse_what_is_no_path_and_no_split(here: Path) -> None:
    with quickly(here):
        for path, found, remedy in NO_PATHS:
            assert_helps(refused(PickledTrainerDataset, path, quiet=True), found, remedy)
        for name in NO_NAMES:
            assert_helps(refused(load_dataset, name), repr(name), "give a split's name, folder or")
        for name in NO_FOLDERS:
            remedy = "give its revision" if name == "a/b" else NAME_FOLDER
            assert_helps(refused(load_dataset, name), "folder", remedy)
        said = refused(load_dataset, "Train")
        assert_helps(said, "split 'Train'", "has no dataset", "run `codedata materialize Train`")


# The command line's other arguments

SPLITS = "demo_documents, demo_train, demo_validation, train, validation"
COMMANDS: list[tuple[list[str], *tuple[str, ...]]] = [
    *((["show", "{here}/d", "--sample", n], "{here}/d", f"no sample {n}", "name one from 0 to 3")
      for n in ("4", "-1", "1000000000000000000000")),
    (["show", "{here}/d", "--sample", "1.5"], "--sample", "'1.5'", ALONE),
    *((["show", "{here}/d", "--tokenizer", given], *says)
      for given, *says in [*NO_TOKENIZERS[:1], *NO_TOKENIZERS[-2:]]),
    (["show", "{here}/d", "--tokenizer", ""], "tokenizer", "''", "name"),
    (["make"], "there is no command", "'make'", "usage: codedata"),
    (["materialize"], "the following arguments are required", "SPLIT", "usage: codedata"),
    (["show", "a", "b"], "unrecognized arguments", "b", "usage: codedata"),
    (["show", "a", "--sample"], "--sample", "expected one argument", "usage: codedata"),
    (["materialize", "train", "--forced"], "unrecognized", "--forced", "usage: codedata"),
    *((["materialize", *given], "there is no split", repr(given[-1]), SPLITS)
      for given in [[""], ["TRAIN"], ["demo_train", "nope"], ["__ASSET_JOB"], ["demo_corpus"],
                    ["../train"]]),
    *(([f"{name}={value}", "materialize", "demo_train"], place, reason, name)
      for name, value, place, reason in [
          ("DAGSTER_HOME", "{here}/file", "{here}/file", "File exists"),
          ("DAGSTER_HOME", "{here}/file/x", "{here}/file/x", "Not a dir"),
          ("DAGSTER_HOME", LONG, "nnnnn", "File name too long"),
          (ROOT_VARIABLE, "{here}/file", "{here}/file/.dagster", "Not a dir"),
          (ROOT_VARIABLE, LONG, "nnnnn", "File name too long"),
      ]),
]  # fmt: skip


def test_the_command_line_refuses(
    here: Path, bad_files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codedata import definitions  # seconds of imports that are not the refusal's

    assert definitions.defs is not None
    scenario.write_dataset(here / "d", SAMPLES)
    put(here / "home" / "dagster.yaml", b"")
    for given, *says in COMMANDS:
        words = [filled(part, w=bad_files, here=here) for part in given]
        with monkeypatch.context() as patch:
            patch.setenv("DAGSTER_HOME", str(here / "home"))
            if words and "=" in words[0]:
                patch.setenv("DAGSTER_HOME", "")
                patch.setenv(*words.pop(0).split("="))
            with quickly(here):
                said = refused_by(cli.main, words, capsys)
        assert_helps(said, *says, w=bad_files, here=here)


# The YAML of components, and the environment

SPLIT = {
    "name": "small", "corpus": "code", "tokenizer_base": "/some/tokenizer", "seq_length": 64,
    "min_sample_length": 10, "max_dump_size": 50, "pad_token": 5, "starting_character": 1000,
    "chars_to_tokenize": 100_000, "chunk_size": 30_000,
}  # fmt: skip
CORPUS = {"name": "c", "source": {"kind": "local", "path": "c.parquet"}}
Yaml = tuple[dict[str, Any], *tuple[str, ...]]
"""Attributes that are put in, those in capitals into the environment; and what is said."""


def each(name: str, values: list[Any], place: str, remedy: str) -> Iterator[Yaml]:
    """Values of one attribute that are refused in the same words."""
    return (({name: value}, place, repr(value), remedy) for value in values)


WORD = "write it with the letters A to Z, digits and underscores alone"
INTEGER, LARGER = "should be a valid integer", "choose a larger chunk_size"
SEQ_LENGTH, CHUNK_SIZE = "CODEDATA_SMALL_SEQ_LENGTH", "CODEDATA_SMALL_CHUNK_SIZE"
OTHERS = "name the folder of another split's defs.yaml"
SPLITS_YAML: list[Yaml] = [
    ({"seq_length": 0}, "split 'small'", "not 0", "seq_length must be 1 to"),
    *each("seq_length", ["abc", 1.5, None, [5]], "seq_length", INTEGER),
    ({"pad_token": 1.5}, "pad_token", "1.5", INTEGER),
    ({SEQ_LENGTH: "0"}, SEQ_LENGTH, "not 0", "seq_length must be 1 to"),
    *each(CHUNK_SIZE, ["many", "1.5"], CHUNK_SIZE, ALONE),
    ({CHUNK_SIZE: DIGITS}, CHUNK_SIZE, f"'{DIGITS[:200]}...'", ALONE),
    *(({name: " "}, name, "empty", "must name a tokenizer")
      for name in ("CODEDATA_TOKENIZER", "CODEDATA_SMALL_TOKENIZER_BASE", "tokenizer_base")),
    ({CHUNK_SIZE: "1"}, "split 'small'", "chunks of 1 ", LARGER),
    ({"chunk_size": 9}, "split 'small'", "chunks of 9 ", LARGER),
    *each("name", ["", "a b", "../a", "a-b", "träin"], "name of a split", WORD),
    *each("name", ["input", "class"], "name of split", "choose another"),
    ({"corpus": "a b"}, "corpus of split", "'a b'", WORD),
    *each("tokenizer_asset", ["", "../t"], "tokenizer_asset of split", WORD),
    *((({"held_out_from": [value]}), "held_out_from", repr(value), OTHERS)
      for value in ("nope", "corpus", "../other", "", ".", "Other")),
    ({"held_out_from": ["other"]},
     "'small' is held out from 'other'", "50000 to 101000", "starting_character"),
    ({"held_out_from": "other"}, "held_out_from", "'other'", "should be a valid list"),
    ({"corpus": "nope"}, "split 'small'", "'nope/raw_parquet'", "correct corpus"),
    ({"tokenizer_asset": "nope"}, "split 'small'", "'nope'", "correct corpus or tokenizer_asset"),
    *each("files", ["", "a", "3-1", "0,,1", "0-10000", -1, 10000], "files of split 'small'",
          "write numbers and ranges"),
    ({"files": 1}, "files of split 'small'", "corpus 'code' has 1", "name 0 to 0"),
    ({"sequence_length": 5}, "defs.yaml:1: ", "no field 'sequence_length'", "mean seq_length?"),
    ({"name": 5}, "name", "is 5", "should be a valid string"),
]  # fmt: skip


def source(*says: str, **fields: Any) -> Yaml:
    return ({"source": fields}, *says)


def hub(*says: str, **fields: Any) -> Yaml:
    return source(*says, **{"kind": "hub", "repo": "owner/data", "path": "c.parquet", **fields})


def folders(*says: str, **fields: Any) -> Yaml:
    return source(*says, **{"kind": "folders", "folders": {"a": "b"}, **fields})


SOURCE = "source of corpus 'c'"
CORPORA_YAML: list[Yaml] = [
    *each("name", ["", "../c"], "name of a corpus", WORD),
    *(hub("repo", repr(repo), "write it as owner/name", repo=repo)
      for repo in ("", "data", "a/b/c", "https://huggingface.co/datasets/a/b", "a b/c")),
    *(hub("revision", repr(value), "name one that the repository has",
          revision=value) for value in ("", "a\0b")),
    *(hub("path", repr(path), remedy, path=path)
      for path, remedy in [
          ("  ", "name a file"),
          ("a\0b", "name a file"),
          ([], "name at least one file"),
          ("/c.parquet", "without a leading slash"),
          ("a/../../c.parquet", "as the repository's page shows it"),
      ]),
    *(hub("path", found, remedy, path=path)
      for path, found, remedy in [
          ("c-{3..1}.parquet", "{3..1}", "write the smaller number first"),
          ("c-{08..009}.parquet", "{08..009}", "with as many digits"),
          ("{0..9999}/{0..9999}/{0..9999}", "10,000 files", "make several corpora"),
          (["a.parquet", "a.parquet"], "a.parquet twice", "name each file once"),
      ]),
    *(hub("first_chars", str(value), "left out", first_chars=value)
      for value in (0, 2**63)),
    source("path", "''", "name a file", kind="local", path=""),
    *(folders("extensions", repr(value), "without the dot", extensions=[value])
      for value in (".c", "", "c/h")),
    folders("extensions", "[]", "at least one", extensions=[]),
    *(folders("exclude", repr(value), "no slash at its ends", exclude=[value])
      for value in ("build/", "", "/src")),
    folders("neither folders ({})", "name at least one folder", folders={}),
    *(folders("folders", repr(name), "write a name without a slash", folders={name: place})
      for name, place in [("", "b"), ("a/b", "c"), ("a", ""), ("a", "b\0c")]),
    *(folders("headers_of", repr(package), "by which Python imports", headers_of=[package])
      for package in ("", ".numpy", "../numpy")),
    hub(SOURCE, "of kind 'web'", "there are hub, local, folders", kind="web"),
    hub(SOURCE, "of kind 'hubb'", "did you mean hub?", kind="hubb"),
    source(SOURCE, "has no kind", "there are hub", repo="a/b"),
    hub("(kind: hub)", "no field 'url'", "there are repo, path, config, split, revision", url="x"),
    hub("(kind: hub)", "no field 'ptah'", "did you mean path?", ptah="x"),
    hub("(kind: hub)", "first_chars is 'many'", INTEGER, first_chars="many"),
    source("(kind: hub)", "repo is missing", "add it", kind="hub", path="a.parquet"),
    hub("(kind: hub)", "the path says which files", "leave one out", split="train"),
    hub("(kind: hub)", "on_error is 'ignore'", "'refuse' or 'skip'", on_error="ignore"),
    source("url is 's3://{id}'", "up to a slash", kind="local", path="a", content={"url": "s3://{id}"}),
    source("(kind: local)", "path is 5", "should be a valid string", kind="local", path=5),
    *(({"source": value}, SOURCE, f"is {value!r}", "write a kind") for value in (None, "c.p")),
    ({"colour": "red"}, "defs.yaml:1: ", "no field 'colour'", "there are name, source"),
]  # fmt: skip


def defs_yaml(kind: str, attributes: dict[str, Any]) -> str:
    return json.dumps({"type": f"codedata.components.{kind}", "attributes": attributes})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[DefsFolderSandbox]:
    """A folder of definitions with a corpus and the split `other`."""
    with create_defs_folder_sandbox() as made:
        other = {**SPLIT, "name": "other", "starting_character": 50_000}
        for folder, text in {
            "corpus": defs_yaml("RawCorpus", {**CORPUS, "name": "code"}),
            "other": defs_yaml("DatasetSplit", other),
        }.items():
            put(made.defs_folder_path / folder / "defs.yaml", text.encode())
        yield made


def build(sandbox: DefsFolderSandbox, kind: str, attributes: dict[str, Any]) -> None:
    """What Dagster does when the code location loads."""
    text = defs_yaml(kind, attributes)
    put(sandbox.defs_folder_path / "case" / "defs.yaml", text.encode())
    from codedata.definitions import resources  # seconds of imports

    with sandbox.build_all_defs() as defs:
        whole = dg.Definitions.merge(defs, dg.Definitions(resources=resources))
        require_all_defined(whole)
        assert [*whole.resolve_all_job_defs()]


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")  # Dagster's own parsing
@pytest.mark.parametrize(
    ("kind", "right", "cases"),
    [("DatasetSplit", SPLIT, SPLITS_YAML), ("RawCorpus", CORPUS, CORPORA_YAML)],
    ids=["a split", "a corpus"],
)
def test_the_code_location_refuses_what_a_yaml_or_the_environment_says(
    kind: str,
    right: dict[str, Any],
    cases: list[Yaml],
    sandbox: DefsFolderSandbox,
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
) -> None:
    build(sandbox, kind, right)
    for attributes, *says in cases:
        own = {name: value for name, value in attributes.items() if name.islower()}
        with monkeypatch.context() as patch:
            for name in attributes.keys() - own.keys():
                patch.setenv(name, attributes[name])
            with quickly(here), pytest.raises(Exception) as refusal:  # noqa: PT011 (Dagster's own)
                build(sandbox, kind, {**right, **own})
        assert_helps(str(user_error(refusal.value)), *says)


def test_the_sources_of_a_corpus_are_refused_as_they_are_found(here: Path, bad_files: Path) -> None:
    cases: list[Yaml] = [
        ({"kind": "local", "path": f"{bad_files}/{name}.parquet"}, f"{{w}}/{name}.parquet", *says)
        for name in ("missing", "html", "integers", "blank")
        for _, *says in [BAD_PARQUETS[name]]
    ]
    cases += [
        ({"kind": "folders", "folders": {"a": f"{here}/{name}"}, "extensions": ["c"]}, *says)
        for name, *says in [
            ("none", "the folder {here}/none", "does not exist", "name a folder"),
            ("file", "the folder {here}/file", "does not exist", "name a folder"),
            ("full", "{here}/full", "no file ending in c", "name"),
        ]
    ]
    (here / "corpora" / "c").mkdir(parents=True)
    for given, *says in cases:
        corpus = RawCorpus(name="c", source=given)
        with quickly(here):
            said = refused(corpus.materialize, Layout(here), TERMINAL)
        assert_helps(said, *says, w=bad_files, here=here)
