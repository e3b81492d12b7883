"""What a user can get wrong, surface by surface: refused at once, in words that help.

A case is refused with one message that names the place (file or field), the value found and the
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

Says = tuple[str, str, str]
"""The place, the value and the remedy that the message must hold."""


def shown(words: object) -> str:
    """The id of a case."""
    text = " ".join(words) if isinstance(words, tuple) else str(words)
    return ascii(text if len(text) < 90 else f"{text[:60]}...{len(text)}")


def filled(part: str, **places: Path) -> str:
    """With its folders in it: `{w}`, the one of bad files, and `{here}`, the test's own."""
    for name, path in places.items():
        part = part.replace(f"{{{name}}}", str(path))
    return part


def assert_helps(message: str, says: Says, **places: Path) -> None:
    """The message is one line, not too long, and says all three."""
    assert "Traceback" not in message
    for part in says:
        assert filled(part, **places) in message
    assert len(message) < 2500


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@contextmanager
def quickly(folder: Path) -> Iterator[None]:
    """Soon, and with nothing made or left in a folder."""
    before, start = tree(folder), time.process_time()
    yield
    assert time.process_time() - start < SECONDS
    assert tree(folder) == before, "before any work"


def refused_by(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> str:
    """What a command line prints to stderr when it refuses; an exception is a bare traceback."""
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
        assert status == 2
    assert status in {1, 2}
    said = capsys.readouterr().err
    if status == 1:
        [said] = said.splitlines()
    return said


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(CodedataError) as refusal:
        call()
    return str(refusal.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: things that no dataset may replace."""
    (tmp_path / "file").write_text("a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "nested" / "inner").mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "dump-0.pkl").symlink_to("../file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    return tmp_path


# Bad files


def text_parquet(path: Path, column: pa.Array, name: str = "content") -> None:
    pq.write_table(pa.table({name: column}), path)


def strings_of(raw: bytes) -> pa.Array:
    """Strings of arbitrary bytes, which no constructor would let through."""
    offsets = pa.py_buffer(b"\0\0\0\0" + len(raw).to_bytes(4, "little"))
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(raw)])


def write_bad_parquets(w: Path, corpus: Path) -> None:
    good = corpus.read_bytes()
    for name, data in {
        "empty": b"",
        "html": b"<!DOCTYPE html><html>Sign in</html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        "csv": b"content,size\nint,3\n",
        "zip": b"PK\x03\x04" + bytes(50),
        "nul": bytes(100),
        "cut": good[: len(good) // 2],
        "footer": b"PAR1" + b"\xff" * 50 + b"PAR1",
        "length": good[:-8] + b"\xff\xff\xff\x7f" + b"PAR1",
    }.items():
        (w / f"{name}.parquet").write_bytes(data)
    for name, values in {
        "integers": pa.array([1, 2]),
        "floats": pa.array([1.5]),
        "booleans": pa.array([True]),
        "lists": pa.array([["a"], ["b"]]),
        "dates": pa.array([0], pa.date32()),
        "none": pa.array([None, None]),
        "binary": pa.array([b"ok", b"int \xff;"], pa.binary()),
        "surrogate": strings_of(b"a\xed\xa0\x80"),
        "rowless": pa.array([], pa.string()),
        "nulls": pa.array([None, None], pa.string()),
        "blank": pa.array(["", ""]),
    }.items():
        text_parquet(w / f"{name}.parquet", values)
    text_parquet(w / "unnamed.parquet", pa.array(["a"]), "text")
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["content", "content"])
    pq.write_table(twice, w / "twice.parquet")
    (w / "folder.parquet").mkdir()
    os.mkfifo(w / "pipe.parquet")
    (w / "loop.parquet").symlink_to("loop.parquet")
    (w / "dangling.parquet").symlink_to("nowhere")


NAME_ONE, FETCH = "name a parquet file that exists", "fetch it again"
BAD_PARQUETS: dict[str, tuple[str, str]] = {
    "missing": ("cannot be read: No such file", NAME_ONE),
    "dangling": ("cannot be read: No such file", NAME_ONE),
    "folder": ("is a folder; ", "name one parquet file"),
    "loop": ("cannot be read: Too many levels of symbolic links", NAME_ONE),
    "pipe": ("is a pipe or device", "save what it gives and name that file"),
    "empty": ("is empty", FETCH),
    "html": ("is a web page", "a download that needs a login"),
    "lfs": ("is a Git LFS pointer", "run `git lfs pull`"),
    "csv": ("starts with b'content,'", "name one"),
    "zip": ("starts with b'PK", "name one"),
    "nul": (r"starts with b'\x00\x00", "name one"),
    "cut": ("cut off after", FETCH),
    "footer": ("is not a readable parquet file", FETCH),
    "length": ("is not a readable parquet file", FETCH),
    "integers": ("has type int64", "it must be text"),
    "floats": ("has type double", "it must be text"),
    "booleans": ("has type bool", "it must be text"),
    "lists": ("has type list", "it must be text"),
    "dates": ("has type date32", "it must be text"),
    "none": ("has type null", "it must be text"),
    "binary": ("row 1 of", "repair or remove that row"),
    "surrogate": ("row 0 of", "repair or remove that row"),
    "rowless": ("0 rows", "name a file with documents"),
    "nulls": ("2 have a null", "name a file with documents"),
    "blank": ("2 an empty 'content'", "name a file with documents"),
    "unnamed": ("its columns are text", "rename the one that holds the documents"),
    "twice": ("has 2 columns named 'content'", "rename the one that holds the documents"),
}


def write_bad_tokenizers(w: Path, tokenizer_folder: Path) -> None:
    good = json.loads((tokenizer_folder / "tokenizer.json").read_bytes())
    dropout = {**good, "model": {**good["model"], "dropout": 0.1}}
    for name, content in {
        "t-empty": b"",
        "t-text": b"a tokenizer",
        "t-binary": b"\xff\xfe\0\0",
        "t-list": b"[1]",
        "t-number": b"5",
        "t-object": b"{}",
        "t-nested": b"[" * 100_000,
        "t-model": json.dumps({**good, "model": {"type": "None"}}).encode(),
        "t-dropout": json.dumps(dropout).encode(),
    }.items():
        (w / name).mkdir()
        (w / name / "tokenizer.json").write_bytes(content)
    for name, config in {
        "c-text": "a config",
        "c-list": "[]",
        "c-missing": json.dumps({"add_bos_token": True}),
        "c-unknown": json.dumps({"add_bos_token": True, "bos_token": "<nope>"}),
        "c-number": json.dumps({"add_eos_token": True, "eos_token": 5}),
    }.items():
        shutil.copytree(tokenizer_folder, w / name)
        (w / name / "tokenizer_config.json").write_text(config, encoding="utf-8")
    (w / "t-none").mkdir()
    (w / "t-old").mkdir()
    (w / "t-old" / "tokenizer_config.json").write_text("{}")


SAVE, NAME_TOKENIZER = "save the tokenizer again", "name a folder, a tokenizer.json or a repository"
BAD_TOKENIZERS: dict[str, Says] = {
    "/no/such/folder": ("tokenizer '/no/such/folder'", "does not exist here", NAME_TOKENIZER),
    "a/b/c": ("tokenizer 'a/b/c'", "does not exist here", NAME_TOKENIZER),
    "own er/name": ("tokenizer 'own er/name'", "does not exist here", NAME_TOKENIZER),
    "owner/not-here": ("tokenizer 'owner/not-here'", "HF_HUB_OFFLINE is set", "name their folder"),
    LONG: ("tokenizer 'nnnnn", "File name too long", NAME_TOKENIZER),
    "~no_such_user/t": ("'~no_such_user/t'", "home directory", "write the whole path"),
    "s3://bucket/t": ("'s3://bucket/t'", "a URL", "copy it here"),
    "hf://owner/t": ("'hf://owner/t'", "a URL", "write owner/name"),
    "{w}/t-none": ("{w}/t-none", "has no tokenizer.json", "name that folder"),
    "{w}/t-old": ("{w}/t-old", "has no tokenizer.json", "name that folder"),
    "{w}/t-empty": ("{w}/t-empty/tokenizer.json", "Expecting value", SAVE),
    "{w}/t-empty/tokenizer.json": ("{w}/t-empty/tokenizer.json", "Expecting value", SAVE),
    "{w}/t-text": ("{w}/t-text/tokenizer.json", "Expecting value", SAVE),
    "{w}/t-binary": ("{w}/t-binary/tokenizer.json", "is not JSON", SAVE),
    "{w}/t-list": ("{w}/t-list/tokenizer.json", "holds a JSON list", SAVE),
    "{w}/t-number": ("{w}/t-number/tokenizer.json", "holds a JSON int", SAVE),
    "{w}/t-object": ("{w}/t-object/tokenizer.json", "is no tokenizer", SAVE),
    "{w}/t-nested": ("{w}/t-nested/tokenizer.json", "recursion", SAVE),
    "{w}/t-model": ("{w}/t-model/tokenizer.json", "is no tokenizer", SAVE),
    "{w}/t-dropout": ("{w}/t-dropout/tokenizer.json", "a BPE dropout", "dropout to null"),
    "{w}/c-text": ("{w}/c-text/tokenizer_config.json", "is not JSON", SAVE),
    "{w}/c-list": ("{w}/c-list/tokenizer_config.json", "holds a JSON list", SAVE),
    "{w}/c-missing": ("{w}/c-missing/tokenizer_config.json", "bos_token None", "correct one"),
    "{w}/c-unknown": ("{w}/c-unknown/tokenizer_config.json", "bos_token '<nope>'", "correct one"),
    "{w}/c-number": ("{w}/c-number/tokenizer_config.json", "add_eos_token", "correct one"),
    "{w}/csv.parquet": ("{w}/csv.parquet", "is not JSON", SAVE),
}


@pytest.fixture(scope="module")
def bad_files(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    write_bad_parquets(folder, corpus)
    write_bad_tokenizers(folder, tokenizer_folder)
    (folder / "dataset").mkdir()
    shutil.copy(corpus, folder / "good.parquet")
    shutil.copy(corpus, folder / "dataset" / "good.parquet")
    return folder


# The script

NO_NUMBERS = ["abc", "1.5", "1e3", "0x10", "", " ", "5 5", "٣x", "None", "nan", DIGITS]
USAGE, SUBFOLDER = "usage: tokenize_data", "name a subfolder"


def cut(value: str) -> str:
    return value if len(value) < 200 else f"{value[:200]}..."


SCRIPT: dict[tuple[str, ...], Says] = {
    ("--seq_length", "0"): ("seq_length", "not 0", "must be 1 to 16777216"),
    ("--chunk_size", str(10**30)): ("chunk_size", f"not {10**30}", "must be 1 to"),
    ("--num_workers", "0"): ("num_workers", "not 0", "must be 1 to 1024"),
    ("--num_workers", "1025"): ("num_workers", "not 1025", "must be 1 to 1024"),
    **{
        ("--seq_length", value): ("--seq_length", repr(cut(value)), "write its digits alone")
        for value in NO_NUMBERS
    },
    ("--num_workers", "two"): ("--num_workers", "'two'", "write its digits alone"),
    **{("--engine", each): ("--engine", repr(each), "choose from") for each in ("", "Auto")},
    ("--starting_character", "999999999"):
        ("starting_character", "is 999999999", "choose a smaller one"),
    **{
        ("--pad_token", value): ("pad_token", cut(value), "name the id of one of its tokens, or")
        for value in ("99999", "2147483647", *filter(None, NO_NUMBERS))
    },
    ("--pad_token", ""): ("pad_token", "is empty", "must be an id or name a token"),
    ("--sequence", "5"): ("--sequence", "5", USAGE),
    ("stray",): ("unrecognized arguments", "stray", USAGE),
    ("--seq_length",): ("--seq_length", "expected one argument", USAGE),
    **{
        ("--data_file", f"{{w}}/{name}.parquet"): (f"{{w}}/{name}.parquet", value, remedy)
        for name, (value, remedy) in BAD_PARQUETS.items()
    },
    ("--data_file", ""): (".", "is a folder; ", "name one parquet file"),
    ("--data_file", "/dev/zero"): ("/dev/zero", "is a pipe or device", "name that file"),
    ("--data_file", LONG): ("nnnnn", "File name too long", NAME_ONE),
    ("--data_file", "{w}/csv.parquet/x"): ("{w}/csv.parquet/x", "Not a directory", NAME_ONE),
    **{("--tokenizer_base", source): says for source, says in BAD_TOKENIZERS.items()},
    ("--tokenizer_base", " \t"): ("tokenizer_base", "is empty", "must name a tokenizer"),
    **{
        ("--tokenization_folder", target): says
        for target, says in {
            "{here}/file": ("{here}/file", "is a file", "name a folder"),
            "{here}/file/below": ("{here}/file", "is not writable", "name a folder elsewhere"),
            "{here}/full": ("{here}/full", "'notes.txt'", SUBFOLDER),
            "{here}/nested": ("{here}/nested", "'inner'", SUBFOLDER),
            "{here}/linked": ("{here}/linked", "'dump-0.pkl'", SUBFOLDER),
            "{here}": ("{here}", "is or holds the working folder", SUBFOLDER),
            "": ("the target .", "is or holds the working folder", SUBFOLDER),
            "..": ("the target ..", "holds", SUBFOLDER),
            "/": ("the target /", "is a mount point", SUBFOLDER),
            "/proc": ("the target /proc", "is a mount point", SUBFOLDER),
            "{w}": ("{w}", "holds the input", SUBFOLDER),
            "{here}/" + LONG: ("{here}", "File name too long", "name a folder"),
            "{here}/" + "n" * 250: ("{here}", "File name too long", "name a folder"),
            "a\0b": ("the target", "null byte", "name a folder"),
        }.items()
    },
}  # fmt: skip


@pytest.fixture
def script(here: Path, bad_files: Path, tokenizer_folder: Path) -> list[str]:
    """A command with nothing wrong, of which the cases change one switch."""
    switches = ["--data_file", str(bad_files / "good.parquet"), "--num_workers", "1"]
    switches += ["--tokenization_folder", str(here / "new" / "dataset"), "--pad_token", "534"]
    return [*switches, "--tokenizer_base", str(tokenizer_folder)]


@pytest.fixture(scope="module")
def warm(bad_files: Path, tokenizer_folder: Path) -> None:
    """What is imported and compiled once is not the refusal's time."""
    from codedata.tokenize.tokenizer_files import find_tokenizer

    with pytest.raises(CodedataError):
        find_tokenizer("owner/not-here")
    arguments = ["--data_file", str(bad_files / "good.parquet"), "--pad_token", "999999"]
    arguments += ["--tokenization_folder", str(bad_files / "none")]
    assert tokenize_data.main([*arguments, "--tokenizer_base", str(tokenizer_folder)]) == 1


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("given", SCRIPT, ids=shown)
def test_the_script_refuses(
    given: tuple[str, ...],
    script: list[str],
    here: Path,
    bad_files: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = [filled(part, w=bad_files, here=here) for part in given]
    capsys.readouterr()
    with quickly(here), quickly(bad_files):
        said = refused_by(tokenize_data.main, [*script, *wrong], capsys)
    assert "tokenize_data: error: " in said
    assert_helps(said, SCRIPT[given], w=bad_files, here=here)


def test_the_script_works_on_what_the_cases_change_one_by_one(script: list[str]) -> None:
    assert tokenize_data.main([*script, "--chars_to_tokenize", "20000"]) == 0


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


def put(**fields: Any) -> Damage:
    return meta(lambda parsed: parsed["dump-0.pkl"].update(fields))


def written(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def changed(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def in_place_of(name: str, make: Callable[[Path], object]) -> Damage:
    """Something else where a file was; `.` is the folder itself."""

    def damage(folder: Path) -> None:
        if name == ".":
            shutil.rmtree(folder)
        else:
            (folder / name).unlink()
        make(folder if name == "." else folder / name)

    return damage


def swap_shards(folder: Path) -> None:
    (folder / "dump-0.pkl").rename(folder / "aside")
    (folder / "dump-1.pkl").rename(folder / "dump-0.pkl")
    (folder / "aside").rename(folder / "dump-1.pkl")


PLAIN = "is not a plain file"
HOSTILE = b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00falsetR."
SHARD, META, FIRST = "dump-0.pkl", "{here}/" + META_NAME, "{here}/dump-0.pkl"
AGAIN, WRITE, COPY = "make the dataset again", "write it again", "put the file itself in its place"
NAME_FOLDER = "name the folder of a dataset"
FOLDERS: dict[str, tuple[Damage, Says]] = {
    "no folder": (shutil.rmtree, ("{here}", "No such file", NAME_FOLDER)),
    "a file": (in_place_of(".", Path.touch), ("{here}", "Not a dir", NAME_FOLDER)),
    "a dangling link":
        (in_place_of(".", lambda p: p.symlink_to("no")), ("{here}", "No such file", NAME_FOLDER)),
    "an empty folder": (in_place_of(".", Path.mkdir), ("{here}", "holds no dump-m", NAME_FOLDER)),
    "a meta that is a link to nothing":
        (in_place_of(META_NAME, lambda p: p.symlink_to("no")), (META, "is a link to 'no'", COPY)),
    "a meta that is a pipe": (in_place_of(META_NAME, os.mkfifo), (META, PLAIN, COPY)),
    "an empty meta": (written(META_NAME, b""), (META, "Expecting value", AGAIN)),
    "a meta nested deeply": (written(META_NAME, b"[" * 1024), (META, "recursion", AGAIN)),
    "a meta of a list": (written(META_NAME, b"[1]"), (META, "it is [1]", AGAIN)),
    "a name that leads out":
        (meta(lambda m: m.update({"../dump-0.pkl": {}})), (META, "'../dump-0.pkl'", AGAIN)),
    "samples in words": (put(num_samples="two"), (META, "num_samples of dump-0.pkl is 't", AGAIN)),
    "a hash of another entry": (put(entry_sha256="00"), (META, "that it states, '00'", AGAIN)),
    "a missing shard":
        (lambda d: (d / SHARD).unlink(), ("{here}", "lacks dump-0.pkl", AGAIN)),
    "a shard too many": (
        lambda folder: shutil.copy(folder / SHARD, folder / "dump-2.pkl"),
        ("{here}", "holds dump-2.pkl", "remove it, or make the dataset again"),
    ),
    "an empty shard": (written(SHARD, b""), (FIRST, "is empty", AGAIN)),
    "a shard that is a link to nothing":
        (in_place_of(SHARD, lambda p: p.symlink_to("no")), (FIRST, "it is a link to 'no'", COPY)),
    "a byte between two ids": (
        changed(SHARD, lambda data: data[:9] + b"K" + data[10:]),
        (FIRST, "sample 0 breaks the format", AGAIN),
    ),
    "a call": (written(SHARD, HOSTILE), (FIRST, "is not a list of lists", WRITE)),
}  # fmt: skip
"""Damage that every reader finds."""

HASHED: dict[str, tuple[Damage, Says]] = {
    "a bit of an id":
        (changed(SHARD, lambda data: data[:7] + b"\7" + data[8:]), (FIRST, "sha256", AGAIN)),
    "two shards swapped": (swap_shards, (FIRST, "sha256", AGAIN)),
    "a meta without hashes": (meta(lambda m: m), (META, "is not as it was written", AGAIN)),
    "a meta with spaces":
        (changed(META_NAME, lambda data: data + b" "), (META, "is not as it was written", AGAIN)),
    "a meta with another field": (put(author="me"), (META, "is not as it was written", AGAIN)),
}  # fmt: skip
"""Damage that only `verify` finds."""


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return scenario.write_dataset(tmp_path / "datasets" / "train", SAMPLES)


@pytest.mark.parametrize("damage", [*FOLDERS, *HASHED])
def test_every_reader_refuses_a_damaged_folder(
    damage: str, train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, says = (FOLDERS | HASHED)[damage]
    change(train)
    verify = damage in HASHED
    missing = says[1] == "No such file"
    hashed_first = says[0] == FIRST and says[1] not in {"is empty", "it is a link to 'no'", PLAIN}
    of_verify = (FIRST, "does not have the sha256", AGAIN) if hashed_first else says
    of_split = ("split 'train'", "has no dataset in", "run `codedata materialize train`")
    with quickly(train.parent):
        assert_helps(refused_by(cli.main, ["verify", str(train)], capsys), of_verify, here=train)
        said = refused(lambda: PickledTrainerDataset(train, quiet=True, verify=verify))
        assert_helps(said, says, here=train)
        said = refused(lambda: load_dataset("train", verify=verify))
        assert_helps(said, of_split if missing else says, here=train)
        if verify:
            assert len(load_dataset("train")) == 4, "the control: only verify finds it"
        else:
            assert_helps(refused_by(cli.main, ["show", str(train)], capsys), says, here=train)


def test_the_readers_read_the_folder_that_the_cases_damage(train: Path) -> None:
    assert cli.main(["show", str(train)]) == cli.main(["verify", str(train)]) == 0
    assert len(PickledTrainerDataset(train, quiet=True, verify=True)) == 4
    assert len(load_dataset("train", verify=True)) == 4


# The loader's arguments

NO_PATHS: list[tuple[Any, Says]] = [
    (None, ("dataset folder", "None", "name one folder")),
    (5, ("dataset folder", "5", "name one folder")),
    (["d", None], ("dataset folder", "None", "name one folder")),
    (b"d", ("dataset folder", "b'd'", "name one folder")),
    ([["d"]], ("dataset folder", "['d']", "name one folder")),
    (dict, ("dataset folder", "dict", "name one folder")),
    ([], ("dataset folder", "no ", "name at least one")),
    ("a\0b", ("dataset folder", "null byte", NAME_FOLDER)),
    ([LONG, "x"], ("nnnnn", "File name too long", NAME_FOLDER)),
    ("", (".", "holds no dump-meta", NAME_FOLDER)),
]
NO_SPLITS = [None, 5, "", " ", "../train", "a/b", "/etc", "a\0b", ".", LONG + "-", b"d", ["d"], "ü"]


def test_the_loaders_refuse_what_is_no_path_and_no_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with quickly(tmp_path):
        for path, says in NO_PATHS:
            assert_helps(refused(lambda path=path: PickledTrainerDataset(path, quiet=True)), says)
        for name in NO_SPLITS:
            split: Any = name
            said = refused(lambda split=split: load_dataset(split))
            assert_helps(said, ("no name of a split", repr(name), "name one, such as 'train'"))
        said = refused(lambda: load_dataset("Train"))
        assert_helps(said, ("split 'Train'", "has no dataset", "run `codedata materialize Train`"))


# The command line's other arguments

USAGE, SPLITS = "usage: codedata", "demo_train, demo_validation, train, validation"
COMMANDS: dict[tuple[str, ...], Says] = {
    **{
        ("show", "{here}/d", "--sample", value):
            ("{here}/d", f"no sample {value}", "name one from 0 to 3")
        for value in ("4", "-1", "1000000000000000000000")
    },
    ("show", "{here}/d", "--sample", "1.5"): ("--sample", "'1.5'", "write its digits alone"),
    **{
        ("show", "{here}/d", "--tokenizer", source): BAD_TOKENIZERS[source]
        for source in ("/no/such/folder", "owner/not-here", "{w}/t-text", "{w}/c-missing")
    },
    ("show", "{here}/d", "--tokenizer", ""): ("tokenizer", "''", "name"),
    (): ("the following arguments are required", "command", USAGE),
    ("make",): ("command", "'make'", USAGE),
    ("show",): ("the following arguments are required", "folder", USAGE),
    ("verify",): ("the following arguments are required", "folder", USAGE),
    ("materialize",): ("the following arguments are required", "SPLIT", USAGE),
    ("show", "a", "b"): ("unrecognized arguments", "b", USAGE),
    ("show", "a", "--sample"): ("--sample", "expected one argument", USAGE),
    ("verify", "a", "--deep"): ("unrecognized arguments", "--deep", USAGE),
    ("materialize", "train", "--forced"): ("unrecognized arguments", "--forced", USAGE),
    **{
        ("materialize", *given): ("there is no split", repr(given[-1]), SPLITS)
        for given in [
            ("",), ("TRAIN",), ("train/",), ("demo_train", "nope"), ("__ASSET_JOB",),
            ("demo_corpus",), ("../train",),
        ]
    },
    **{
        (f"{name}={value}", "materialize", "demo_train"): (place, reason, name)
        for name, value, place, reason in [
            ("DAGSTER_HOME", "{here}/file", "{here}/file", "File exists"),
            ("DAGSTER_HOME", "{here}/file/x", "{here}/file/x", "Not a dir"),
            ("DAGSTER_HOME", LONG, "nnnnn", "File name too long"),
            (ROOT_VARIABLE, "{here}/file", "{here}/file/.dagster", "Not a dir"),
            (ROOT_VARIABLE, LONG, "nnnnn", "File name too long"),
        ]
    },
}  # fmt: skip


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("given", COMMANDS, ids=shown)
def test_the_command_line_refuses(
    given: tuple[str, ...],
    here: Path,
    bad_files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from codedata import definitions  # seconds of imports that are not the refusal's

    assert definitions.defs is not None
    scenario.write_dataset(here / "d", SAMPLES)
    words = [filled(part, w=bad_files, here=here) for part in given]
    monkeypatch.setenv("DAGSTER_HOME", "")
    if words and "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("="))
    elif words[:1] == ["materialize"]:
        monkeypatch.setenv("DAGSTER_HOME", str(here / "home"))
        (here / "home").mkdir()
        (here / "home" / "dagster.yaml").touch()
    with quickly(here):
        said = refused_by(cli.main, words, capsys)
    assert_helps(said, COMMANDS[given], w=bad_files, here=here)


# The YAML of components, and the environment

SPLIT = {
    "name": "small",
    "corpus": "code",
    "tokenizer_base": "/some/tokenizer",
    "seq_length": 64,
    "min_sample_length": 10,
    "max_dump_size": 50,
    "pad_token": 5,
    "starting_character": 1000,
    "chars_to_tokenize": 100_000,
    "chunk_size": 30_000,
}
CORPUS = {"name": "c", "source": {"kind": "local", "path": "c.parquet"}}
WORD = "write it with the letters A to Z, digits and underscores alone"
DIGITS_ALONE, EMPTY = "write its digits alone", ("is empty", "must name a tokenizer")
Yaml = tuple[dict[str, Any], Says]
"""Attributes that are put in, those in capitals into the environment; and what is said."""

SPLITS_YAML: list[Yaml] = [
    ({"seq_length": 0}, ("split 'small'", "not 0", "seq_length must be 1 to")),
    ({"chunk_size": 10**30}, ("split 'small'", f"not {10**30}", "chunk_size must be 1 to")),
    *(
        ({"seq_length": value}, ("seq_length", repr(value), "should be a valid integer"))
        for value in ["abc", 1.5, None, [5], {"a": 5}]
    ),
    ({"pad_token": 1.5}, ("pad_token", "1.5", "should be a valid integer")),
    ({"CODEDATA_SMALL_SEQ_LENGTH": "0"},
     ("CODEDATA_SMALL_SEQ_LENGTH", "not 0", "seq_length must be 1 to")),
    *(
        ({"CODEDATA_SMALL_CHUNK_SIZE": value},
         ("CODEDATA_SMALL_CHUNK_SIZE", repr(cut(value)), DIGITS_ALONE))
        for value in ("many", "1.5", DIGITS)
    ),
    *(
        ({name: " "}, (name, "empty", "must name a tokenizer"))
        for name in ("CODEDATA_TOKENIZER", "CODEDATA_SMALL_TOKENIZER_BASE", "tokenizer_base")
    ),
    ({"CODEDATA_SMALL_CHUNK_SIZE": "1"},
     ("split 'small'", "chunks of 1 ", "choose a larger chunk_size")),
    ({"chunk_size": 9}, ("split 'small'", "chunks of 9 ", "choose a larger chunk_size")),
    *(
        ({"name": value}, ("name of split", repr(value), WORD))
        for value in ("", " ", "a b", "a/b", "../a", "a-b", "a.b", "träin", "/etc")
    ),
    ({"corpus": "a b"}, ("corpus of split", "'a b'", WORD)),
    *(
        ({"name": value}, ("name of split", repr(value), "choose another"))
        for value in ("input", "class", "type")
    ),
    *(
        ({"tokenizer_asset": value},
         ("tokenizer_asset of split", repr(value), "write the asset's key"))
        for value in ("", "../t", "a b")
    ),
    *(
        ({"held_out_from": [value]},
         ("held_out_from", repr(value), "name the folder of another split's defs.yaml"))
        for value in ("nope", "corpus", "../other", "", ".", "Other")
    ),
    ({"held_out_from": ["other"]},
     ("'small' is held out from 'other'", "50000 to 101000", "starting_character")),
    ({"held_out_from": "other"}, ("held_out_from", "'other'", "should be a valid list")),
    ({"corpus": "nope"}, ("split 'small'", "'nope/raw_parquet'", "correct corpus")),
    ({"tokenizer_asset": "nope"},
     ("split 'small'", "'nope'", "correct corpus or tokenizer_asset")),
    *(
        ({"files": value}, ("files of split 'small'", repr(value), "write numbers and ranges"))
        for value in ("", "a", "3-1", "0,,1", "0-10000", -1, 10000)
    ),
    ({"files": 1}, ("files of split 'small'", "corpus 'code' has 1", "name 0 to 0")),
    ({"sequence_length": 5}, ("sequence_length", "is 5", "Extra inputs are not permitted")),
    ({"name": 5}, ("name", "is 5", "should be a valid string")),
    ({"description": [5]}, ("description", "is [5]", "should be a valid string")),
]  # fmt: skip


def hub(says: Says, **fields: Any) -> Yaml:
    source = {"kind": "hub", "repo": "owner/data", "path": "c.parquet", **fields}
    return {"source": source}, says


def folders(says: Says, **fields: Any) -> Yaml:
    return {"source": {"kind": "folders", **fields}}, says


CORPORA_YAML: list[Yaml] = [
    *(({"name": value}, ("name of a corpus", repr(value), WORD)) for value in ("", "../c", "c-d")),
    *(
        hub(("repo is", repr(repo), "write it as owner/name"), repo=repo)
        for repo in ("", "data", "a/b/c", "https://huggingface.co/datasets/a/b", "a b/c", "/a")
    ),
    *(
        hub(("revision is", repr(value), "name one that the repository has"),
            revision=value)
        for value in ("", "a\0b")
    ),
    *(
        hub(("path ", repr(value), "name a parquet file"), path=value)
        for value in ("", "  ", "a\0b")
    ),
    *(
        hub(("path ", found, remedy), path=path)
        for path, found, remedy in [
            ("c/*.parquet", "'c/*.parquet'", "write a range"),
            (["a.parquet", "b?.parquet"], "'b?.parquet'", "write a range"),
            ("c-{3..1}.parquet", "{3..1}", "write the smaller number first"),
            ("c-{08..009}.parquet", "{08..009}", "with as many digits"),
            ("c-{0..10000}.parquet", "{0..10000}", "make several corpora"),
            ("{0..9999}/{0..9999}/{0..9999}", "10,000 files", "make several corpora"),
            (["a.parquet", "a.parquet"], "a.parquet twice", "name each file once"),
            ([], "[]", "name at least one parquet file"),
            ("/c.parquet", "'/c.parquet'", "without a leading slash"),
            ("a/../../c.parquet", "'a/../../c.parquet'", "as the repository's page shows it"),
        ]
    ),
    *(
        hub(("first_chars is", str(value), "left out"), first_chars=value)
        for value in (0, -1, 2**63)
    ),
    *(
        ({"source": {"kind": "local", "path": path}},
         ("path is", repr(path), "name a parquet file"))
        for path in ("", "a\0b")
    ),
    *(
        folders(("extensions is", repr(extension), "without the dot"),
                folders={"a": "b"}, extensions=[extension])
        for extension in (".c", "", "c/h", "c h", "tar.gz")
    ),
    folders(("extensions is", "[]", "at least one"), folders={"a": "b"}, extensions=[]),
    folders(("(kind: folders)", "neither folders ({})", "name at least one folder")),
    *(
        folders(("folders is", repr(name), "write a name without a slash"),
                folders={name: place})
        for name, place in [("", "b"), ("a/b", "c"), ("a", ""), ("a", "b\0c")]
    ),
    *(
        folders(("headers_of is", repr(package), "by which Python imports"),
                headers_of=[package])
        for package in ("", ".numpy", "num py", "../numpy", "numpy/")
    ),
    hub(("source of corpus 'c'", "of kind 'web'", "there are hub, local, folders"), kind="web"),
    hub(("source of corpus 'c'", "of kind 'hubb'", "do you mean hub?"), kind="hubb"),
    ({"source": {"repo": "a/b"}}, ("source of corpus 'c'", "has no kind", "there are hub")),
    hub(("(kind: hub)", "no field 'url'", "there are repo, path, revision, first_chars"), url="x"),
    hub(("(kind: hub)", "no field 'ptah'", "do you mean path?"), ptah="x"),
    hub(("(kind: hub)", "first_chars is 'many'", "should be a valid integer"), first_chars="many"),
    ({"source": {"kind": "hub", "repo": "a/b"}}, ("(kind: hub)", "path is missing", "add it")),
    ({"source": {"kind": "local", "path": 5}},
     ("(kind: local)", "path is 5", "should be a valid string")),
    *(
        ({"source": value}, ("source of corpus 'c'", f"is {value!r}", "write a kind"))
        for value in (None, "c.parquet", [])
    ),
    ({"colour": "red"}, ("colour", "is 'red'", "Extra inputs are not permitted")),
]  # fmt: skip
YAML = [
    *(("DatasetSplit", SPLIT, attributes, says) for attributes, says in SPLITS_YAML),
    *(("RawCorpus", CORPUS, attributes, says) for attributes, says in CORPORA_YAML),
]


DAGSTERS_OWN = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecatedSince20")
"""Dagster parses YAML with a function that pydantic calls deprecated."""


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
            (made.defs_folder_path / folder).mkdir()
            (made.defs_folder_path / folder / "defs.yaml").write_text(text, encoding="utf-8")
        (made.defs_folder_path / "case").mkdir()
        yield made


def build(sandbox: DefsFolderSandbox, text: str) -> None:
    """What Dagster does when the code location loads."""
    (sandbox.defs_folder_path / "case" / "defs.yaml").write_text(text, encoding="utf-8")
    from codedata.definitions import resources  # seconds of imports

    with sandbox.build_all_defs() as defs:
        whole = dg.Definitions.merge(defs, dg.Definitions(resources=resources))
        require_all_defined(whole)
        assert [*whole.resolve_all_job_defs()]


@DAGSTERS_OWN
@pytest.mark.parametrize(
    ("kind", "good", "attributes", "says"),
    YAML,
    ids=[shown(attributes) for *_, attributes, _ in YAML],
)
def test_the_code_location_refuses(
    kind: str,
    good: dict[str, Any],
    attributes: dict[str, Any],
    says: Says,
    sandbox: DefsFolderSandbox,
    monkeypatch: pytest.MonkeyPatch,
    here: Path,
) -> None:
    own = {name: value for name, value in attributes.items() if name.islower()}
    for name in attributes.keys() - own.keys():
        monkeypatch.setenv(name, attributes[name])
    with quickly(here), pytest.raises(Exception) as refusal:  # noqa: PT011  (Dagster's own)
        build(sandbox, defs_yaml(kind, {**good, **own}))
    assert_helps(str(user_error(refusal.value)), says)


@DAGSTERS_OWN
def test_the_code_location_takes_what_the_cases_change_one_by_one(
    sandbox: DefsFolderSandbox,
) -> None:
    build(sandbox, defs_yaml("DatasetSplit", SPLIT))
    build(sandbox, defs_yaml("RawCorpus", CORPUS))


# The sources of a corpus


@pytest.mark.parametrize("name", ["missing", "html", "integers", "blank"])
def test_a_parquet_of_a_corpus_is_refused(name: str, here: Path, bad_files: Path) -> None:
    source = {"kind": "local", "path": str(bad_files / f"{name}.parquet")}
    says = (f"{{w}}/{name}.parquet", *BAD_PARQUETS[name])
    assert_source_is_refused(source, says, here, bad_files)


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("none", ("the folder {here}/none", "does not exist", "name a folder")),
        ("file", ("the folder {here}/file", "does not exist", "name a folder")),
        ("full", ("{here}/full", "no file ending in c", "name")),
    ],
)
def test_a_folder_of_a_corpus_is_refused(
    folder: str, says: Says, here: Path, bad_files: Path
) -> None:
    source = {"kind": "folders", "folders": {"a": str(here / folder)}, "extensions": ["c"]}
    assert_source_is_refused(source, says, here, bad_files)


def assert_source_is_refused(source: Any, says: Says, here: Path, w: Path) -> None:
    (here / "corpora" / "c").mkdir(parents=True)
    with quickly(here):
        said = refused(
            lambda: RawCorpus(name="c", source=source).materialize(Layout(here), TERMINAL)
        )
    assert_helps(said, says, w=w, here=here)
