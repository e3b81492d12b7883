"""What a user can get wrong, surface by surface: refused at once, in words that help.

A case is refused with one message that names the place (file or field), the value found and the
remedy, within 2 s and before any work: nothing is made, nothing is left. A bare traceback fails it.
"""

import json
import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from codedata import PickledTrainerDataset, cli, load_dataset, tokenize_data
from codedata.cli.definition_errors import user_error
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


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bad input.

    Attributes:
        surface: where it is put in.
        given: what is put in; `{w}` is the folder of bad files, `{here}` the test's own.
        says: the place, the value and the remedy that the message must hold.
        environment: variables that are set.
    """

    surface: str
    given: tuple[str, ...]
    says: tuple[str, str, str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        shown = " ".join([*self.given, *(f"{k}={v}" for k, v in self.environment.items())])
        return ascii(shown if len(shown) < 90 else f"{shown[:60]}...{len(shown)}")


def ids(cases: list[Case]) -> list[str]:
    return [f"{number}: {case.id}" for number, case in enumerate(cases)]


def assert_helps(message: str, says: tuple[str, str, str], **places: Path) -> None:
    """The message is one line, not too long, and says all three."""
    assert "Traceback" not in message
    for part in says:
        assert filled(part, **places) in message
    assert len(message) < 2500


def filled(part: str, **places: Path) -> str:
    """A part with its folders: `{w}`, `{here}`."""
    for name, path in places.items():
        part = part.replace(f"{{{name}}}", str(path))
    return part


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
BAD_TOKENIZERS: dict[str, tuple[str, str, str]] = {
    "": ("tokenizer", "''", "name"),
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
    "{w}/c-number": ("{w}/c-number/tokenizer_config.json", "eos_token 5", "correct one"),
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

NUMBERS = {
    "min_sample_length": (0, 2**62),
    "seq_length": (1, 2**24),
    "max_dump_size": (1, 2**62),
    "pad_token": (0, 2**31 - 1),
    "starting_character": (0, 2**62),
    "chars_to_tokenize": (1, 2**62),
    "chunk_size": (1, 2**62),
}
NO_NUMBERS = ["abc", "1.5", "1e3", "0x10", "", " ", "5 5", "٣x", "None", "nan", DIGITS]


def shown(value: str) -> str:
    return value if len(value) < 200 else f"{value[:200]}..."


def switch_cases() -> Iterator[Case]:
    for name, (least, most) in NUMBERS.items():
        for value in (least - 1, -(10**9), most + 1, 10**30):
            remedy = f"must be {least} to {most}"
            yield Case(
                surface="script",
                given=(f"--{name}", str(value)),
                says=(name, f"not {value}", remedy),
            )
    for name in [*sorted(NUMBERS.keys() - {"pad_token"}), "num_workers"]:
        for value in NO_NUMBERS:
            yield Case(
                surface="script",
                given=(f"--{name}", value),
                says=(f"--{name}", repr(shown(value)), "write its digits alone"),
            )
    for value in (0, -1, 1025, 10**30):
        yield Case(
            surface="script",
            given=("--num_workers", str(value)),
            says=("num_workers", f"not {value}", "must be 1 to 1024"),
        )
    for value in ("fast", "", "Auto"):
        yield Case(
            surface="script",
            given=("--engine", value),
            says=("--engine", repr(value), "choose from"),
        )
    yield Case(
        surface="script",
        given=("--starting_character", "999999999"),
        says=("starting_character", "is 999999999", "choose a smaller one"),
    )
    for value in ("99999", "2147483647", *filter(None, NO_NUMBERS)):
        yield Case(
            surface="script",
            given=("--pad_token", value),
            says=("pad_token", shown(value), "name the id of one of its tokens, or the token"),
        )
    yield Case(
        surface="script",
        given=("--pad_token", ""),
        says=("pad_token", "is empty", "must be an id or name a token"),
    )
    yield Case(
        surface="script",
        given=("--sequence", "5"),
        says=("--sequence", "5", "usage: tokenize_data"),
    )
    yield Case(
        surface="script",
        given=("stray",),
        says=("unrecognized arguments", "stray", "usage: tokenize_data"),
    )
    yield Case(
        surface="script",
        given=("--seq_length",),
        says=("--seq_length", "expected one argument", "usage: tokenize_data"),
    )


def file_cases() -> Iterator[Case]:
    for name, (value, remedy) in BAD_PARQUETS.items():
        path = f"{{w}}/{name}.parquet"
        yield Case(surface="script", given=("--data_file", path), says=(path, value, remedy))
    for path, says in {
        "": (".", "is a folder; ", "name one parquet file"),
        "/dev/null": ("/dev/null", "is a pipe or device", "name that file"),
        "/dev/zero": ("/dev/zero", "is a pipe or device", "name that file"),
        LONG: ("nnnnn", "File name too long", NAME_ONE),
        "{w}/csv.parquet/x": ("{w}/csv.parquet/x", "Not a directory", NAME_ONE),
    }.items():
        yield Case(surface="script", given=("--data_file", path), says=says)
    for source, says in BAD_TOKENIZERS.items():
        if source:
            yield Case(surface="script", given=("--tokenizer_base", source), says=says)
    for blank in ("", " \t"):
        yield Case(
            surface="script",
            given=("--tokenizer_base", blank),
            says=("tokenizer_base", "is empty", "must name a tokenizer"),
        )


def target_cases() -> Iterator[Case]:
    subfolder = "name a subfolder"
    for target, says in {
        "{here}/file": ("{here}/file", "is a file", "name a folder"),
        "{here}/file/below": ("{here}/file", "is not writable", "name a folder elsewhere"),
        "{here}/full": ("{here}/full", "'notes.txt'", subfolder),
        "{here}/nested": ("{here}/nested", "'inner'", subfolder),
        "{here}/linked": ("{here}/linked", "'dump-0.pkl'", subfolder),
        "{here}": ("{here}", "is or holds the working folder", subfolder),
        "": ("the target .", "is or holds the working folder", subfolder),
        "..": ("the target ..", "holds", subfolder),
        "/": ("the target /", "is a mount point", subfolder),
        "/proc": ("the target /proc", "is a mount point", subfolder),
        "{w}": ("{w}", "holds the input", subfolder),
        "{here}/" + LONG: ("{here}", "File name too long", "name a folder"),
        "{here}/" + "n" * 250: ("{here}", "File name too long", "name a folder"),
        "a\0b": ("the target", "null byte", "name a folder"),
    }.items():
        yield Case(surface="script", given=("--tokenization_folder", target), says=says)


SCRIPT = [*switch_cases(), *file_cases(), *target_cases()]


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
    return tmp_path


def tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@contextmanager
def quickly() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SECONDS


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
@pytest.mark.parametrize("case", SCRIPT, ids=ids(SCRIPT))
def test_the_script_refuses(
    case: Case,
    here: Path,
    bad_files: Path,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = {
        "--data_file": str(bad_files / "good.parquet"),
        "--tokenization_folder": str(here / "new" / "dataset"),
        "--tokenizer_base": str(tokenizer_folder),
        "--pad_token": "534",
        "--num_workers": "1",
    }
    given = [
        part.replace("{w}", str(bad_files)).replace("{here}", str(here)) for part in case.given
    ]
    arguments = [part for pair in good.items() for part in pair]
    before = tree(here), tree(bad_files)
    capsys.readouterr()
    with quickly():
        said = refused_by(tokenize_data.main, [*arguments, *given], capsys)
    assert "tokenize_data: error: " in said
    assert_helps(said, case.says, w=bad_files, here=here)
    assert (tree(here), tree(bad_files)) == before, "before any work"


def test_the_script_works_on_what_the_cases_change_one_by_one(
    here: Path, bad_files: Path, tokenizer_folder: Path
) -> None:
    arguments = ["--data_file", str(bad_files / "good.parquet"), "--num_workers", "1"]
    arguments += ["--tokenization_folder", str(here / "new" / "dataset"), "--pad_token", "534"]
    assert tokenize_data.main([*arguments, "--tokenizer_base", str(tokenizer_folder)]) == 0


# Dataset folders: the command line and the loader

SAMPLES = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]
AGAIN = "make the dataset again"
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


def metadata(data: bytes) -> Damage:
    return lambda folder: (folder / META_NAME).write_bytes(data)


def first_shard(data: bytes) -> Damage:
    return lambda folder: (folder / "dump-0.pkl").write_bytes(data)


def pickled(samples: object) -> Damage:
    return lambda folder: (folder / "dump-0.pkl").write_bytes(pickle.dumps(samples, 4))


def changed(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def in_place_of(name: str, make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


def replaced_by(make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        make(folder)

    return damage


PLAIN = "is not a plain file"
HOSTILE = b"\x80\x02cos\nsystem\n(X\x05\x00\x00\x00falsetR."
META, FIRST, WRITE = "{here}/" + META_NAME, "{here}/dump-0.pkl", "write it again"
COPY, NAME_FOLDER = "put the file itself in its place", "name the folder of a dataset"
FOLDERS: dict[str, tuple[Damage, tuple[str, str, str]]] = {
    "no folder": (shutil.rmtree, ("{here}", "No such file", NAME_FOLDER)),
    "a file": (replaced_by(lambda p: p.write_text("x")), ("{here}", "Not a dir", NAME_FOLDER)),
    "a dangling link": (
        replaced_by(lambda p: p.symlink_to("nowhere")), ("{here}", "No such file", NAME_FOLDER),
    ),
    "a loop of links": (
        replaced_by(lambda p: p.symlink_to(p)), ("{here}", "Too many levels", NAME_FOLDER),
    ),
    "an empty folder": (replaced_by(Path.mkdir), ("{here}", "holds no dump-meta", NAME_FOLDER)),
    "a folder without a meta": (
        lambda folder: (folder / META_NAME).unlink(), ("{here}", "holds no dump-meta", NAME_FOLDER),
    ),
    "a meta that is a link to a device": (
        in_place_of(META_NAME, lambda p: p.symlink_to("/dev/null")), (META, PLAIN, COPY),
    ),
    "a meta that is a link to nothing": (
        in_place_of(META_NAME, lambda p: p.symlink_to("no")), (META, "is a link to 'no'", COPY),
    ),
    "a meta that is a pipe": (in_place_of(META_NAME, os.mkfifo), (META, PLAIN, COPY)),
    "a meta that is a folder": (in_place_of(META_NAME, Path.mkdir), (META, PLAIN, COPY)),
    "an empty meta": (metadata(b""), (META, "Expecting value", AGAIN)),
    "a meta of half an object": (metadata(b"{"), (META, "Expecting property name", AGAIN)),
    "a meta of no UTF-8": (metadata(b"\xff\xfe"), (META, "byte 0xff", AGAIN)),
    "a meta of HTML": (metadata(b"<html>"), (META, "Expecting value", AGAIN)),
    "a meta of NULs": (metadata(bytes(99)), (META, "Expecting value", AGAIN)),
    "a meta of two objects": (metadata(b"{} {}"), (META, "Extra data", AGAIN)),
    "a meta with a byte order mark": (metadata(b"\xef\xbb\xbf{}"), (META, "BOM", AGAIN)),
    "a meta nested deeply": (metadata(b"[" * 1024), (META, "recursion", AGAIN)),
    "a meta nested without end": (metadata(b"[" * 10**5), (META, "100000 values", AGAIN)),
    "a meta of many digits": (metadata(b'{"dump-0.pkl": ' + b"9" * 5000), (META, "4300", AGAIN)),
    "a meta of a list": (metadata(b"[1]"), (META, "it is [1]", AGAIN)),
    "a meta of a number": (metadata(b"5"), (META, "it is 5", AGAIN)),
    "a meta of a string": (metadata(b'"dump-0.pkl"'), (META, "it is 'dump-0.pkl'", AGAIN)),
    "a meta of null": (metadata(b"null"), (META, "it is None", AGAIN)),
    "a meta of nothing": (metadata(b"{}"), (META, "it is {}", AGAIN)),
    "a name twice": (
        metadata(b'{"dump-0.pkl": {}, "dump-0.pkl": {}}'), (META, "'dump-0.pkl' stands", AGAIN),
    ),
    "a name of no shard": (
        meta(lambda m: m.update(x=m.pop("dump-0.pkl"))), (META, "'x' is not the name", AGAIN),
    ),
    "a name that leads out": (
        meta(lambda m: m.update({"../dump-0.pkl": {}})), (META, "'../dump-0.pkl'", AGAIN),
    ),
    "an absolute name": (meta(lambda m: m.update({"/etc/passwd": {}})), (META, "'/etc/p", AGAIN)),
    "a number with zeros": (meta(lambda m: m.update({"dump-00.pkl": {}})), (META, "00", AGAIN)),
    "a name with a NUL": (
        meta(lambda m: m.update({"dump-0.pkl\0": {}})), (META, r"'dump-0.pkl\x00'", AGAIN),
    ),
    "a long name": (meta(lambda m: m.update({"n" * 9999: {}})), (META, "'nnnnn", AGAIN)),
    "a shard without a number": (
        meta(lambda m: m.update({"dump-9.pkl": m.pop("dump-1.pkl")})),
        (META, "not dump-1.pkl", AGAIN),
    ),
    "an entry that is a list": (
        meta(lambda m: m.update({"dump-0.pkl": [2]})), (META, "[2]", AGAIN)
    ),
    "an entry that is null": (
        meta(lambda m: m.update({"dump-0.pkl": None})), (META, "is None", AGAIN),
    ),
    "samples that are missing": (
        meta(lambda m: m["dump-0.pkl"].pop("num_samples")),
        (META, "num_samples of dump-0.pkl is None", AGAIN),
    ),
    "tokens that are missing": (
        meta(lambda m: m["dump-0.pkl"].pop("num_tokens")),
        (META, "num_tokens of dump-0.pkl is None", AGAIN),
    ),
    "samples in words": (put(num_samples="two"), (META, "num_samples of dump-0.pkl is 't", AGAIN)),
    "samples with a point": (put(num_samples=2.0), (META, "dump-0.pkl is 2.0", AGAIN)),
    "samples that are true": (put(num_samples=True), (META, "dump-0.pkl is True", AGAIN)),
    "no samples": (put(num_samples=0), (META, "is 0, outside 1 to", AGAIN)),
    "negative samples": (put(num_samples=-2), (META, "is -2, outside 1 to", AGAIN)),
    "too many samples": (put(num_samples=10**30), (META, f"is {10**30}, outside", AGAIN)),
    "tokens that are no number": (put(num_tokens=float("nan")), (META, "is nan, not", AGAIN)),
    "infinite tokens": (put(num_tokens=float("inf")), (META, "is inf, not", AGAIN)),
    "a list of tokens": (put(num_tokens=[6]), (META, "num_tokens of dump-0.pkl is [6]", AGAIN)),
    "tokens of unequal samples": (put(num_tokens=7), (META, "7 tokens of dump-0.pkl", AGAIN)),
    "samples of two lengths": (put(num_tokens=8), (META, "[3, 4]", AGAIN)),
    "a short hash": (put(sha256="00"), (META, "sha256 of dump-0.pkl is '00'", AGAIN)),
    "a hash that is a number": (put(sha256=5), (META, "sha256 of dump-0.pkl is 5", AGAIN)),
    "a hash of another entry": (put(entry_sha256="00"), (META, "that it states, '00'", AGAIN)),
    "a start before the text": (
        put(start_character=-1, stop_character=5), (META, "dump-0.pkl is -1", AGAIN),
    ),
    "a stop before the start": (
        put(start_character=9, stop_character=5), (META, "characters 9 to 5", AGAIN),
    ),
    "a start without a stop": (
        put(start_character=0), (META, "stop_character of dump-0.pkl is None", AGAIN),
    ),
    "a missing shard": (
        lambda folder: (folder / "dump-0.pkl").unlink(), ("{here}", "lacks dump-0.pkl", AGAIN),
    ),
    "a shard too many": (
        lambda folder: shutil.copy(folder / "dump-0.pkl", folder / "dump-2.pkl"),
        ("{here}", "holds dump-2.pkl", "remove it, or make the dataset again"),
    ),
    "an empty shard": (first_shard(b""), (FIRST, "is empty", AGAIN)),
    "a shard of one byte": (first_shard(b"\x80"), (FIRST, "has 1 bytes", AGAIN)),
    "a shard cut off": (
        changed("dump-0.pkl", lambda data: data[:-1]), (FIRST, "has 29 bytes", AGAIN),
    ),
    "a shard with more": (
        changed("dump-0.pkl", lambda data: data + b"."), (FIRST, "has 31 bytes", AGAIN),
    ),
    "a shard of zeros": (first_shard(bytes(30)), (FIRST, "does not start as a pickle", WRITE)),
    "a shard of HTML": (
        first_shard(b"<!DOCTYPE html><html></html>"), (FIRST, "does not start as", WRITE),
    ),
    "a shard that is a link to nothing": (
        in_place_of("dump-0.pkl", lambda path: path.symlink_to("no")),
        (FIRST, "it is a link to 'no'", COPY),
    ),
    "a shard that is a pipe": (in_place_of("dump-0.pkl", os.mkfifo), (FIRST, PLAIN, COPY)),
    "a shard that is a folder": (
        in_place_of("dump-0.pkl", Path.mkdir), (FIRST, PLAIN, COPY),
    ),
    "a byte of a sample's frame": (
        changed("dump-0.pkl", lambda data: data[:4] + b"[" + data[5:]),
        (FIRST, "is not a list of lists", WRITE),
    ),
    "a byte of the last sample's frame": (
        changed("dump-0.pkl", lambda data: data[:-3] + b"aaa"), (FIRST, "the last 2 bytes", AGAIN),
    ),
    "a byte between two ids": (
        changed("dump-0.pkl", lambda data: data[:9] + b"K" + data[10:]),
        (FIRST, "sample 0 breaks the format", AGAIN),
    ),
    "a call": (first_shard(HOSTILE), (FIRST, "is not a list of lists", WRITE)),
    "floats": (pickled([[1.0, 2.0, 3.0]] * 2), (FIRST, "is not a list of lists", WRITE)),
    "strings": (pickled([["a", "b", "c"], ["d", "e", "f"]]), (FIRST, "is not a list", WRITE)),
    "booleans": (pickled([[True] * 3, [False] * 3]), (FIRST, "is not a list of lists", WRITE)),
    "a negative id": (pickled([[1, 2, 3], [4, 5, -6]]), (FIRST, "an id is above 2147", WRITE)),
    "a huge id": (pickled([[1, 2, 3], [4, 5, 2**31]]), (FIRST, "sample 1", WRITE)),
    "ragged samples": (pickled([[1, 2, 3], [4, 5]]), (FIRST, "sample 1", WRITE)),
    "a dictionary": (pickled({"a": [1, 2, 3], "b": [4, 5, 6]}), (FIRST, "byte 0 of", WRITE)),
    "tuples": (pickled([(1, 2, 3), (4, 5, 6)]), (FIRST, "is not a list of lists", WRITE)),
    "a sample too many": (pickled([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
                          (FIRST, "is not a list of lists", WRITE)),
    "the same sample twice": (
        pickled([SAMPLES[0][0], SAMPLES[0][0]]), (FIRST, "is not a list of lists", WRITE),
    ),
}  # fmt: skip
"""Damage that every reader finds."""

HASHED: dict[str, tuple[Damage, tuple[str, str, str]]] = {
    "a bit of an id": (
        changed("dump-0.pkl", lambda data: data[:7] + b"\7" + data[8:]), (FIRST, "sha256", AGAIN),
    ),
    "two shards swapped": (
        lambda folder: [
            (folder / "dump-0.pkl").rename(folder / "aside"),
            (folder / "dump-1.pkl").rename(folder / "dump-0.pkl"),
            (folder / "aside").rename(folder / "dump-1.pkl"),
        ],
        (FIRST, "sha256", AGAIN),
    ),
    "a shard copied over another": (
        lambda folder: shutil.copy(folder / "dump-1.pkl", folder / "dump-0.pkl"),
        (FIRST, "sha256", AGAIN),
    ),
    "a meta without hashes": (meta(lambda m: m), (META, "is not as it was written", AGAIN)),
    "a meta with spaces": (
        changed(META_NAME, lambda data: data + b" "), (META, "is not as it was written", AGAIN),
    ),
    "a meta with another field": (
        put(author="me"), (META, "is not as it was written", AGAIN),
    ),
}  # fmt: skip
"""Damage that only `verify` finds."""


def verified(says: tuple[str, str, str]) -> tuple[str, str, str]:
    """What is said of a shard's content where its hash is looked at first."""
    unread = says[1] in {"is empty", "it is a link to 'no'", PLAIN}
    return says if says[0] != FIRST or unread else (FIRST, "does not have the sha256", AGAIN)


READERS = ["codedata show", "codedata verify", "PickledTrainerDataset", "load_dataset"]
READING = [
    *(
        Case(surface=s, given=(d,), says=says if s != "codedata verify" else verified(says))
        for s in READERS
        for d, (_, says) in FOLDERS.items()
    ),
    *(
        Case(surface=f"{surface} with verify", given=(damage,), says=says)
        for surface in READERS[1:]
        for damage, (_, says) in HASHED.items()
    ),
]


def read(surface: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Read a dataset folder, and return what it is refused with."""
    reader, _, verify = surface.partition(" with ")
    if reader.startswith("codedata "):
        return refused_by(cli.main, [reader.split()[1], str(folder)], capsys)
    if reader == "load_dataset":
        return refused(lambda: load_dataset(folder.name, verify=bool(verify)))
    return refused(lambda: PickledTrainerDataset(folder, quiet=True, verify=bool(verify)))


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(CodedataError) as refusal:
        call()
    return str(refusal.value)


@pytest.mark.parametrize("case", READING, ids=[f"{c.surface}: {c.given[0]}" for c in READING])
def test_a_reader_refuses_a_folder(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    folder = scenario.write_dataset(tmp_path / "datasets" / "train", SAMPLES)
    damage, _ = (FOLDERS | HASHED)[case.given[0]]
    damage(folder)
    before = tree(tmp_path)
    with quickly():
        said = read(case.surface, folder, capsys)
    if case.surface == "load_dataset" and case.says[1] in {"No such file", "Too many levels"}:
        assert "split 'train' has no dataset in" in said
        assert "run `codedata materialize train`" in said
    else:
        assert_helps(said, case.says, here=folder)
    assert tree(tmp_path) == before


def test_the_readers_read_the_folder_that_the_cases_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    folder = scenario.write_dataset(tmp_path / "datasets" / "train", SAMPLES)
    assert cli.main(["show", str(folder)]) == cli.main(["verify", str(folder)]) == 0
    assert len(PickledTrainerDataset(folder, quiet=True, verify=True)) == 4
    assert len(load_dataset("train", verify=True)) == 4
    for damage, _ in HASHED.values():
        shutil.rmtree(folder)
        damage(scenario.write_dataset(folder, SAMPLES))
        assert len(load_dataset("train")) == 4, "the control: only verify finds it"


# The loader's arguments

NO_PATHS: dict[str, tuple[Any, tuple[str, str, str]]] = {
    "None": (None, ("dataset folder", "None", "name one folder")),
    "a number": (5, ("dataset folder", "5", "name one folder")),
    "a list of numbers": ([5], ("dataset folder", "5", "name one folder")),
    "a list with None": (["d", None], ("dataset folder", "None", "name one folder")),
    "bytes": (b"d", ("dataset folder", "b'd'", "name one folder")),
    "a list of lists": ([["d"]], ("dataset folder", "['d']", "name one folder")),
    "a class": (dict, ("dataset folder", "dict", "name one folder")),
    "nothing": ([], ("dataset folder", "no ", "name at least one")),
    "a NUL": ("a\0b", ("dataset folder", "null byte", NAME_FOLDER)),
    "a name too long": (LONG, ("nnnnn", "File name too long", NAME_FOLDER)),
    "a long list": ([LONG, "x"], ("nnnnn", "File name too long", NAME_FOLDER)),
    "an empty name": ("", (".", "holds no dump-meta", NAME_FOLDER)),
}
NO_SPLITS: list[Any] = [
    None,
    5,
    "",
    " ",
    "../train",
    "a/b",
    "/etc",
    "a b",
    "a\0b",
    ".",
    LONG + "-",
    b"d",
    ["d"],
    "träin",
]
LOADING = [
    *(Case(surface="PickledTrainerDataset", given=(n,), says=s) for n, (_, s) in NO_PATHS.items()),
    *(
        Case(
            surface="load_dataset",
            given=(repr(name),),
            says=("no name of a split", repr(name), "name one, such as 'train'"),
        )
        for name in NO_SPLITS
    ),
    *(
        Case(
            surface="load_dataset",
            given=(name,),
            says=(f"split {name!r}", "has no dataset", f"run `codedata materialize {name}`"),
        )
        for name in ("validation", "Train", "train_", "0")
    ),
]


@pytest.mark.parametrize("case", LOADING, ids=ids(LOADING))
def test_the_loader_refuses_an_argument(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    [given] = case.given
    split: Any = {repr(name): name for name in NO_SPLITS}.get(given, given)
    with quickly():
        if case.surface == "load_dataset":
            said = refused(lambda: load_dataset(split))
        else:
            said = refused(lambda: PickledTrainerDataset(NO_PATHS[given][0], quiet=True))
    assert_helps(said, case.says)
    assert tree(tmp_path) == []


# The command line's other arguments

SHOWING = [
    *(
        Case(
            surface="codedata show",
            given=("{here}/d", "--sample", value),
            says=("{here}/d", f"no sample {value}", "name one from 0 to 3"),
        )
        for value in ("4", "-1", "1000000000000000000000")
    ),
    *(
        Case(
            surface="codedata show",
            given=("{here}/d", "--sample", value),
            says=("--sample", repr(shown(value)), "write its digits alone"),
        )
        for value in NO_NUMBERS
    ),
    *(
        Case(surface="codedata show", given=("{here}/d", "--tokenizer", source), says=says)
        for source, says in BAD_TOKENIZERS.items()
    ),
]
USAGE = [
    Case(surface="codedata", given=given, says=(place, value, "usage: codedata"))
    for given, place, value in [
        ((), "the following arguments are required", "command"),
        (("make",), "command", "'make'"),
        (("show",), "the following arguments are required", "folder"),
        (("verify",), "the following arguments are required", "folder"),
        (("materialize",), "the following arguments are required", "SPLIT"),
        (("show", "a", "b"), "unrecognized arguments", "b"),
        (("show", "a", "--sample"), "--sample", "expected one argument"),
        (("verify", "a", "--deep"), "unrecognized arguments", "--deep"),
        (("materialize", "train", "--forced"), "unrecognized arguments", "--forced"),
    ]
]
SPLITS = "demo_train, demo_validation, train, validation"
MATERIALIZING = [
    *(
        Case(
            surface="codedata materialize",
            given=given,
            says=("there is no split", repr(unknown), SPLITS),
        )
        for given, unknown in [
            (("nope",), "nope"),
            (("",), ""),
            (("TRAIN",), "TRAIN"),
            (("train/",), "train/"),
            (("demo_train", "nope"), "nope"),
            (("__ASSET_JOB",), "__ASSET_JOB"),
            (("demo_corpus",), "demo_corpus"),
            (("../train",), "../train"),
        ]
    ),
    *(
        Case(surface="codedata materialize", given=("demo_train",), environment=e, says=says)
        for e, says in [
            ({"DAGSTER_HOME": "{here}/file"}, ("{here}/file", "File exists", "DAGSTER_HOME")),
            ({"DAGSTER_HOME": "{here}/file/x"}, ("{here}/file/x", "Not a dir", "DAGSTER_HOME")),
            ({"DAGSTER_HOME": LONG}, ("nnnnn", "File name too long", "DAGSTER_HOME")),
            ({ROOT_VARIABLE: "{here}/file"}, ("{here}/file/.dagster", "Not a dir", ROOT_VARIABLE)),
            ({ROOT_VARIABLE: LONG}, ("nnnnn", "File name too long", ROOT_VARIABLE)),
        ]
    ),
]
COMMANDS = [*SHOWING, *USAGE, *MATERIALIZING]


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("case", COMMANDS, ids=ids(COMMANDS))
def test_the_command_line_refuses(
    case: Case,
    here: Path,
    bad_files: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from codedata import definitions  # seconds of imports that are not the refusal's

    assert definitions.defs is not None
    scenario.write_dataset(here / "d", SAMPLES)
    monkeypatch.setenv("DAGSTER_HOME", str(here / "home") if not case.environment else "")
    monkeypatch.setenv(ROOT_VARIABLE, str(here / "root"))
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value.replace("{here}", str(here)))
    given = [
        part.replace("{w}", str(bad_files)).replace("{here}", str(here)) for part in case.given
    ]
    command = [] if case.surface == "codedata" else [case.surface.split()[1]]
    before = tree(here)
    with quickly():
        said = refused_by(cli.main, [*command, *given], capsys)
    assert_helps(said, case.says, w=bad_files, here=here)
    home = [str(here / "home"), str(here / "home" / "dagster.yaml")]
    assert [path for path in tree(here) if path not in home] == before, "before any work"


# The YAML of components

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
HUB = {"kind": "hub", "repo": "owner/data", "path": "c.parquet"}
WORD = "write it with the letters A to Z, digits and underscores alone"
YAML_KINDS = ["abc", 1.5, None, [5], {"a": 5}]


def split_yaml(says: tuple[str, str, str], /, **attributes: Any) -> Case:
    given = ("DatasetSplit", json.dumps(attributes))
    return Case(surface="the YAML", given=given, says=says)


def corpus_yaml(says: tuple[str, str, str], /, **attributes: Any) -> Case:
    given = ("RawCorpus", json.dumps(attributes))
    return Case(surface="the YAML", given=given, says=says)


def override(says: tuple[str, str, str], /, **environment: str) -> Case:
    return Case(
        surface="the environment", given=("DatasetSplit", "{}"), environment=environment, says=says
    )


YAML = [
    *(
        split_yaml(("split 'small'", f"not {value}", f"{name} must be {least} to"), **{name: value})
        for name, (least, most) in NUMBERS.items()
        for value in (least - 1, most + 1, 10**30)
    ),
    *(
        split_yaml((name, repr(value), "should be a valid integer"), **{name: value})
        for name in NUMBERS
        for value in YAML_KINDS
        if (name, value) != ("pad_token", "abc")
    ),
    *(
        override((f"CODEDATA_SMALL_{name.upper()}", f"not {value}", f"{name} must be {least} to"),
                 **{f"CODEDATA_SMALL_{name.upper()}": str(value)})
        for name, (least, most) in NUMBERS.items()
        for value in (least - 1, most + 1)
    ),
    *(
        override((f"CODEDATA_SMALL_{name.upper()}", repr(shown(value)), "write its digits alone"),
                 **{f"CODEDATA_SMALL_{name.upper()}": value})
        for name in sorted(NUMBERS.keys() - {"pad_token"})
        for value in ("many", "1.5", DIGITS)
    ),
    override(("CODEDATA_TOKENIZER", "empty", "must name a tokenizer"), CODEDATA_TOKENIZER=" "),
    override(("CODEDATA_SMALL_TOKENIZER_BASE", "empty", "must name a tokenizer"),
             CODEDATA_SMALL_TOKENIZER_BASE=" "),
    override(("split 'small'", "chunks of 1 ", "choose a larger chunk_size"),
             CODEDATA_SMALL_CHUNK_SIZE="1"),
    split_yaml(("split 'small'", "chunks of 9 ", "choose a larger chunk_size"), chunk_size=9),
    *(
        split_yaml((f"{field} of split", repr(value), WORD), **{field: value})
        for field in ("name", "corpus")
        for value in ("", " ", "a b", "a/b", "../a", "a-b", "a.b", "träin", "/etc")
    ),
    *(
        split_yaml(("name of split", repr(value), "choose another"), name=value)
        for value in ("input", "class", "type")
    ),
    *(
        split_yaml(("tokenizer_asset of split", repr(value), "write the asset's key"),
                   tokenizer_asset=value)
        for value in ("", "../t", "a b")
    ),
    *(
        split_yaml(("tokenizer_base", "is empty", "must name a tokenizer"), tokenizer_base=value)
        for value in ("", "  ")
    ),
    *(
        split_yaml(("held_out_from", repr(value), "name the folder of another split's defs.yaml"),
                   held_out_from=[value])
        for value in ("nope", "corpus", "../other", "", ".", "Other")
    ),
    split_yaml(("'small' is held out from 'other'", "50000 to 101000", "starting_character"),
               held_out_from=["other"]),
    split_yaml(("split 'small'", "'nope/raw_parquet'", "correct corpus"), corpus="nope"),
    split_yaml(("split 'small'", "'nope'", "correct corpus or tokenizer_asset"),
               tokenizer_asset="nope"),
    *(
        split_yaml(("files of split 'small'", repr(value), "write numbers and ranges"), files=value)
        for value in ("", "a", "3-1", "0,,1", "0-10000", -1, 10000)
    ),
    split_yaml(("files of split 'small'", "corpus 'code' has 1", "name 0 to 0"), files=1),
    split_yaml(("held_out_from", "'other'", "should be a valid list"), held_out_from="other"),
    split_yaml(("sequence_length", "is 5", "Extra inputs are not permitted"), sequence_length=5),
    split_yaml(("name", "is 5", "should be a valid string"), name=5),
    split_yaml(("name", "is None", "should be a valid string"), name=None),
    split_yaml(("description", "is [5]", "should be a valid string"), description=[5]),
    *(
        corpus_yaml(("name of a corpus", repr(value), WORD), name=value)
        for value in ("", "a b", "../c", "c-d")
    ),
    *(
        corpus_yaml(("repo of a hub source", repr(repo), "write it as owner/name"),
                    source={**HUB, "repo": repo})
        for repo in ("", "data", "a/b/c", "https://huggingface.co/datasets/a/b", "a b/c", "/a")
    ),
    *(
        corpus_yaml(("revision of the hub source", repr(value), "name one that the repository has"),
                    source={**HUB, "revision": value})
        for value in ("", "  ", "a\0b")
    ),
    *(
        corpus_yaml(("path of the hub source owner/data", repr(value), "name a parquet file"),
                    source={**HUB, "path": value})
        for value in ("", "  ", "a\0b")
    ),
    *(
        corpus_yaml(("path of the hub source owner/data", found, remedy),
                    source={**HUB, "path": path})
        for path, found, remedy in [
            ("c/*.parquet", "'c/*.parquet'", "write a range"),
            (["a.parquet", "b?.parquet"], "'b?.parquet'", "write a range"),
            ("c-{3..1}.parquet", "{3..1}", "write the smaller number first"),
            ("c-{08..009}.parquet", "{08..009}", "with as many digits"),
            ("c-{0..10000}.parquet", "{0..10000}", "make several corpora"),
            ("{0..99}/{0..999}.parquet", "10,000 files", "make several corpora"),
            ("{0..9999}/{0..9999}/{0..9999}", "10,000 files", "make several corpora"),
            (["a.parquet", "a.parquet"], "a.parquet twice", "name each file once"),
            ([], "[]", "name at least one parquet file"),
            ("/c.parquet", "'/c.parquet'", "without a leading slash"),
            ("a/../../c.parquet", "'a/../../c.parquet'", "as the repository's page shows it"),
        ]
    ),
    *(
        corpus_yaml(("first_chars of the hub source owner/data", str(value), "left out"),
                    source={**HUB, "first_chars": value})
        for value in (0, -1, 2**63)
    ),
    *(
        corpus_yaml(("path of a local source", repr(path), "name a parquet file"),
                    source={"kind": "local", "path": path})
        for path in ("", "  ", "a\0b")
    ),
    *(
        corpus_yaml(("extensions of a folders source", repr(extension), "without the dot"),
                    source={"kind": "folders", "folders": {"a": "b"}, "extensions": [extension]})
        for extension in (".c", "", "c/h", "c h", "tar.gz")
    ),
    corpus_yaml(("extensions of a folders source", "[]", "name at least one"),
                source={"kind": "folders", "folders": {"a": "b"}, "extensions": []}),
    corpus_yaml(("a folders source", "neither folders ({})", "name at least one folder"),
                source={"kind": "folders"}),
    *(
        corpus_yaml(("folders of a folders source", repr(name), "write a name without a slash"),
                    source={"kind": "folders", "folders": {name: place}})
        for name, place in [("", "b"), ("a/b", "c"), ("a", ""), ("a", "b\0c")]
    ),
    *(
        corpus_yaml(("headers_of of a folders source", repr(package), "by which Python imports"),
                    source={"kind": "folders", "headers_of": [package]})
        for package in ("", ".numpy", "num py", "../numpy", "numpy/")
    ),
    *(
        corpus_yaml(("source of corpus 'c'", found, "there are hub, local, folders"), source=source)
        for source, found in [
            ({**HUB, "kind": "web"}, "of kind 'web'"),
            ({**HUB, "kind": "hubb"}, "do you mean hub?"),
            ({**HUB, "kind": 5}, "of kind '5'"),
            ({"repo": "a/b"}, "has no kind"),
            ({}, "has no kind"),
        ]
    ),
    *(
        corpus_yaml((f"source of corpus 'c' (kind: {source['kind']})", found, remedy),
                    source=source)
        for source, found, remedy in [
            ({**HUB, "url": "x"}, "no field 'url'", "there are repo, path, revision, first_chars"),
            ({**HUB, "ptah": "x"}, "no field 'ptah'", "do you mean path?"),
            ({"kind": "hub", "repo": "a/b"}, "path is missing", "add it"),
            ({"kind": "local", "path": 5}, "path is 5", "should be a valid string"),
            ({**HUB, "first_chars": "many"}, "first_chars is 'many'", "should be a valid integer"),
        ]
    ),
    *(
        corpus_yaml(("source of corpus 'c'", f"is {value!r}", "write a kind"), source=value)
        for value in (None, "c.parquet", 5, [])
    ),
    corpus_yaml(("colour", "is 'red'", "Extra inputs are not permitted"), colour="red"),
]  # fmt: skip


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
        assert [*whole.resolve_all_job_defs()]


@DAGSTERS_OWN
@pytest.mark.parametrize("case", YAML, ids=ids(YAML))
def test_the_code_location_refuses(
    case: Case, sandbox: DefsFolderSandbox, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(ROOT_VARIABLE, str(here / "root"))
    kind, attributes = case.given
    good = SPLIT if kind == "DatasetSplit" else CORPUS
    before = tree(here)
    with quickly(), pytest.raises(Exception) as refusal:  # noqa: PT011  (Dagster's own, around ours)
        build(sandbox, defs_yaml(kind, {**good, **json.loads(attributes)}))
    said = str(user_error(refusal.value))
    assert_helps(said, case.says)
    assert tree(here) == before, "before any work"


@DAGSTERS_OWN
@pytest.mark.parametrize("kind", ["DatasetSplit", "RawCorpus"])
def test_the_code_location_takes_what_the_cases_change_one_by_one(
    kind: str, sandbox: DefsFolderSandbox
) -> None:
    build(sandbox, defs_yaml(kind, SPLIT if kind == "DatasetSplit" else CORPUS))


# The sources of a corpus

SOURCES = [
    *(
        Case(surface="a local corpus", given=(name,), says=(f"{{w}}/{name}.parquet", value, remedy))
        for name, (value, remedy) in BAD_PARQUETS.items()
    ),
    *(
        Case(surface="a corpus of folders", given=(folder, extension), says=says)
        for folder, extension, says in [
            ("{here}/none", "c", ("the folder {here}/none", "does not exist", "name a folder")),
            ("{here}/file", "c", ("the folder {here}/file", "does not exist", "name a folder")),
            ("{here}/full", "c", ("{here}/full", "no file ending in c", "name")),
            ("{here}/full", "h", ("{here}/full", "no file ending in h", "name")),
        ]
    ),
]


@pytest.mark.parametrize("case", SOURCES, ids=ids(SOURCES))
def test_a_source_is_refused(case: Case, here: Path, bad_files: Path) -> None:
    source: Any = {"kind": "local", "path": str(bad_files / f"{case.given[0]}.parquet")}
    if case.surface == "a corpus of folders":
        folder, extension = case.given
        folders = {"a": folder.replace("{here}", str(here))}
        source = {"kind": "folders", "folders": folders, "extensions": [extension]}
    with quickly(), pytest.raises(CodedataError) as refusal:
        RawCorpus(name="c", source=source).materialize(Layout(here), TERMINAL)
    assert_helps(str(refusal.value), case.says, w=bad_files, here=here)
    assert os.listdir(here / "corpora" / "c") == []


# All


def test_there_are_hundreds_of_cases_and_no_two_are_the_same() -> None:
    cases = [*SCRIPT, *READING, *LOADING, *COMMANDS, *YAML, *SOURCES]
    inputs = {(case.surface, case.given, *case.environment.items()) for case in cases}
    assert len(inputs) == len(cases) >= 600
    surfaces = {case.surface for case in cases}
    assert len(surfaces) >= 12
    assert all(part for case in cases for part in case.says)
