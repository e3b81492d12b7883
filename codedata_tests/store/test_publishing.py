"""Publishing: what a dataset may replace, and that nobody ever sees or keeps half of one."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from codedata.errors import TargetError
from codedata.format.card import CARD_NAME, render_card
from codedata.format.facts import FACTS_NAME, dump_facts
from codedata.format.meta import META_NAME
from codedata.store import publishing
from codedata.store.publishing import check_target, open_staging
from codedata_tests.campaigns.small_publish import no_exchange
from codedata_tests.format.test_old_cards import OLD_CARD
from codedata_tests.store.small_datasets import facts, num_shards_of, publish, stage


@pytest.fixture(params=["exchange", "fallback"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which a dataset takes another's place."""
    if request.param == "fallback":
        monkeypatch.setattr(publishing, "exchange", no_exchange)
    return request.param


# Targets


def make_file(path: Path) -> None:
    path.write_text("mine", encoding="utf-8")


FOREIGN: list[tuple[str, Callable[[Path], None]]] = [
    *((name, make_file) for name in ("notes.txt", ".hidden", "config.json", ".dump-0.pkl.123.tmp")),
    *((name, make_file) for name in ("model.pkl", "dump-01.pkl", "dump-٣.pkl", "dump-1.pkl\n")),
    *((name, make_file) for name in ("documents.npy", "dump-1.npy", "dump-01.documents.npy")),
    *((name, make_file) for name in ("dump-1.documents.parquet.bak", "dump-1.documents.csv")),
    *((name, Path.mkdir) for name in ("dump-7.documents.npy", "dump-7.documents.parquet")),
    *((name, os.mkfifo) for name in ("dump-7.documents.npy", "dump-7.documents.parquet")),
    ("dump-7.documents.npy", lambda path: path.symlink_to(__file__)),
    *((name, Path.mkdir) for name in ("sub", "dump-7.pkl", META_NAME)),
    ("dump-7.pkl", os.mkfifo),
    ("dump-7.pkl", lambda path: path.symlink_to(__file__)),
]


def tree(folder: Path) -> list[tuple[str, int]]:
    """Every path below a folder with what kind of file it is and its inode."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return [(f"{path} {stat.S_IFMT(status.st_mode)}", status.st_ino) for path, status in found]


@pytest.mark.parametrize("dataset_too", [False, True])
def test_a_target_that_holds_anything_foreign_is_refused_naming_it(
    dataset_too: bool, tmp_path: Path
) -> None:
    """Row 28."""
    for number, (name, make) in enumerate(FOREIGN):
        target = tmp_path / str(number) / "dataset"
        if dataset_too and name != META_NAME:
            publish(target, 2)
        target.mkdir(parents=True, exist_ok=True)
        make(target / name)
        before = tree(target.parent)
        with pytest.raises(TargetError) as refusal:
            check_target(target)
        message = str(refusal.value)
        assert f"the target {target} holds {name!r}, which no dataset has" in message
        assert "name a subfolder that is its own" in message
        assert tree(target.parent) == before
    with pytest.raises(TargetError, match=r"holds '0' and \d+ more, which no dataset has"):
        check_target(tmp_path)


FACTS = facts(2)
CARD = render_card(FACTS)
EDITED: list[dict[str, bytes]] = [
    {CARD_NAME: b"# My notes\n"},
    {CARD_NAME: b""},
    {CARD_NAME: CARD},  # without its facts
    {CARD_NAME: OLD_CARD + b"\n"},
    {CARD_NAME: CARD + b"My notes.\n", FACTS_NAME: dump_facts(FACTS, CARD)},
    {FACTS_NAME: dump_facts(FACTS, CARD) + b"mine: 1\n", CARD_NAME: CARD},
    {FACTS_NAME: b"mine: 1\n"},
]
"""The first of each is the one that was changed."""


def test_facts_or_a_readme_that_are_not_as_they_were_written_are_not_replaced(
    tmp_path: Path,
) -> None:
    target = tmp_path / "dataset"
    publish(target, 2)
    for texts in EDITED:
        for name in (FACTS_NAME, CARD_NAME):
            (target / name).unlink(missing_ok=True)
        for name, data in texts.items():
            (target / name).write_bytes(data)
        before = tree(tmp_path)
        said = f"holds '{next(iter(texts))}', which is not as codedata wrote it"
        with pytest.raises(TargetError, match=said):
            check_target(target)
        assert tree(tmp_path) == before


@pytest.mark.parametrize("old", [{}, {CARD_NAME: OLD_CARD}], ids=["none", "an old card"])
def test_facts_and_card_are_replaced_with_their_dataset(
    old: dict[str, bytes], tmp_path: Path
) -> None:
    target = tmp_path / "dataset"
    publish(target, 2)
    for name in (FACTS_NAME, CARD_NAME):
        (target / name).unlink()
    for name, data in old.items():
        (target / name).write_bytes(data)
    for command in ("first", "second"):
        with open_staging(check_target(target)) as staging:
            stage(staging, 2, command)
            staging.publish()
        card = render_card(facts(2, command))
        assert (target / CARD_NAME).read_bytes() == card
        assert (target / FACTS_NAME).read_bytes() == dump_facts(facts(2, command), card)
    assert os.listdir(tmp_path) == ["dataset"]


def test_a_target_that_holds_an_input_is_refused(tmp_path: Path) -> None:
    """The input may not exist, be named by a detour, or lie behind a link: it counts."""
    target = tmp_path / "dataset"
    target.mkdir()
    link = tmp_path / "link"
    link.symlink_to(target)
    for below in ("c.parquet", "deep/down/c.parquet"):
        for name in (target / below, target / "x" / ".." / below, link / below):
            with pytest.raises(TargetError) as refusal:
                check_target(target, inputs=[tmp_path / "fine.parquet", name])
            assert f"the target {target} holds the input {name}; name a" in str(refusal.value)
            with pytest.raises(TargetError, match="holds the input"):
                check_target(link, inputs=[name])
    assert check_target(target, inputs=[tmp_path / "dataset.parquet"]) == target


def test_a_mount_point_a_file_and_what_lies_below_one_are_refused(tmp_path: Path) -> None:
    make_file(tmp_path / "file")
    for target, said in (
        *((path, "is a mount point, which cannot be replaced; name a") for path in ("/", "/proc")),
        (tmp_path / "file", "is a file; name a folder"),
        (tmp_path / "file/deep/dataset", f"cannot be made: {tmp_path}/file is not writable"),
    ):
        with pytest.raises(TargetError) as refusal:
            check_target(Path(target))
        assert f"the target {target} {said}" in str(refusal.value)


def test_the_working_folder_and_what_holds_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "above" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for target in (here, here.parent, tmp_path, Path(), Path("..")):
        with pytest.raises(TargetError, match="is or holds the working folder"):
            check_target(target)
    assert check_target(Path("dataset")) == here / "dataset"
    assert check_target(Path("../beside")) == here.parent / "beside"


def test_a_link_as_the_target_stands_for_the_folder_it_names_and_a_tilde_for_the_home_folder(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "real"))
    assert check_target(Path("~/dataset")) == tmp_path / "real" / "dataset"
    real = tmp_path / "real" / "dataset"
    publish(real, 3)
    link = tmp_path / "link"
    link.symlink_to(real)
    assert check_target(link) == real
    publish(link, 2)
    assert link.is_symlink()
    assert num_shards_of(real) == num_shards_of(link) == 2
    assert os.listdir(real.parent) == ["dataset"]


# Publishing


def test_files_and_their_names_are_forced_to_the_disk_before_a_dataset_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the old dataset or the new one whole, whatever the disk still held."""
    target = tmp_path / "set"
    publish(target, 1)
    forced: dict[int, tuple[int, bool]] = {}

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        forced[status.st_ino] = status.st_size, (target / "dump-2.pkl").exists()

    monkeypatch.setattr(os, "fsync", fsync)
    publish(target, 3)
    for path in (target, *target.iterdir()):
        status = path.stat()
        num_bytes = status.st_size if path.is_file() else forced[status.st_ino][0]
        assert forced[status.st_ino] == (num_bytes, False), path
    assert forced[tmp_path.stat().st_ino][1], "the name of the new one is forced after the swap"


def test_an_empty_folder_is_taken_with_its_mode(tmp_path: Path, way: str) -> None:
    target = tmp_path / "dataset"
    target.mkdir()
    target.chmod(0o2750)
    publish(target, 2)
    assert num_shards_of(target) == 2
    assert stat.S_IMODE(target.stat().st_mode) == 0o2750
    assert os.listdir(tmp_path) == ["dataset"]


def test_fewer_shards_leave_no_stale_ones(tmp_path: Path, way: str) -> None:
    """Row 19; the older one was written file by file, as the old script does."""
    target = tmp_path / "dataset"
    target.mkdir(mode=0o700)
    for index in range(5):
        (target / f"dump-{index}.pkl").write_bytes(b"(l.")
    (target / META_NAME).write_text(
        json.dumps({f"dump-{i}.pkl": {"num_samples": 1, "num_tokens": 3} for i in range(5)}),
        encoding="utf-8",
    )
    publish(target, 3)
    assert sorted(os.listdir(target)) == [
        CARD_NAME,
        FACTS_NAME,
        *(f"dump-{i}.pkl" for i in range(3)),
        META_NAME,
    ]
    assert num_shards_of(target) == 3
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    publish(target, 1)
    assert sorted(os.listdir(target)) == [CARD_NAME, FACTS_NAME, "dump-0.pkl", META_NAME]
    assert num_shards_of(target) == 1
    assert os.listdir(tmp_path) == ["dataset"]


def test_exchange_swaps_two_folders_where_the_system_can(tmp_path: Path) -> None:
    """Guards the tests above against running the fallback twice."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    make_file(one / "file")
    if not publishing.exchange(one, other):
        pytest.skip(f"the filesystem of {tmp_path} does not exchange folders")
    assert os.listdir(other) == ["file"]
    assert os.listdir(one) == []
    with pytest.raises(FileNotFoundError) as error:
        publishing.exchange(one, tmp_path / "missing")
    assert error.value.filename == str(one)
    assert error.value.filename2 == str(tmp_path / "missing")


def test_finished_chunks_outlive_a_run_until_they_are_discarded_and_unfinished_ones_do_not(
    tmp_path: Path,
) -> None:
    """Workers are ended where they are when a run fails; their temporary files are nobody's."""
    target = tmp_path / "dataset"
    with open_staging(target) as staging:
        staging.chunks.mkdir()
        make_file(staging.chunks / "a.arrow")
        make_file(staging.chunks / ".b.arrow.1.tmp")
        stage(staging, 2)
    assert sorted(os.listdir(tmp_path)) == [".dataset.codedata"]
    assert os.listdir(staging.folder) == ["chunks"]
    assert os.listdir(staging.chunks) == ["a.arrow"], "after a run that failed"
    make_file(staging.chunks / ".b.arrow.1.tmp")
    with open_staging(target) as staging:
        assert sorted(os.listdir(staging.folder)) == ["chunks", "lock", "lock.holder"]
        assert os.listdir(staging.chunks) == ["a.arrow"], "and after one that was killed"
        stage(staging, 1)
        staging.publish()
        make_file(staging.chunks / ".b.arrow.1.tmp")
        staging.discard_chunks()
    assert os.listdir(tmp_path) == ["dataset"]
    assert num_shards_of(target) == 1


# What comes into the target while a run works


def put_in_its_place(target: Path, make: Callable[[Path], None]) -> None:
    target.rename(target.with_name("moved away"))
    make(target)


ARRIVALS: dict[str, Callable[[Path], None]] = {
    "a note": lambda target: make_file(target / "notes.txt"),
    "a folder": lambda target: (target / "results").mkdir(),
    "a file in its place": lambda target: put_in_its_place(target, make_file),
    "a link in its place": lambda target: put_in_its_place(
        target, lambda path: path.symlink_to(path.with_name("moved away"))
    ),
}


@pytest.mark.parametrize("arrive", ARRIVALS.values(), ids=ARRIVALS)
def test_what_arrives_in_the_target_during_the_run_is_given_back(
    arrive: Callable[[Path], None], tmp_path: Path, way: str
) -> None:
    target = tmp_path / "dataset"
    publish(target, 2)
    before: list[tuple[str, int]] = []

    def run() -> None:
        with open_staging(check_target(target)) as staging:
            stage(staging, 3)
            arrive(target)
            before.extend(entry for entry in tree(tmp_path) if ".codedata" not in entry[0])
            staging.publish()

    with pytest.raises(TargetError) as refusal:
        run()
    assert str(target) in str(refusal.value)
    assert "run again" in str(refusal.value)
    assert tree(tmp_path) == before


def test_a_target_that_was_removed_during_the_run_is_made_again(tmp_path: Path, way: str) -> None:
    target = tmp_path / "dataset"
    publish(target, 2)
    with open_staging(check_target(target)) as staging:
        stage(staging, 3)
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
        staging.publish()
    assert num_shards_of(target) == 3
    assert os.listdir(tmp_path) == ["dataset"]


# What a killed run leaves


@pytest.mark.parametrize("name", ["stage", "previous"])
def test_a_user_s_file_in_the_work_folder_is_named_and_not_removed(
    name: str, tmp_path: Path
) -> None:
    target, mine = tmp_path / "dataset", tmp_path / ".dataset.codedata" / name / "thesis.tex"
    publish(target, 2)
    mine.parent.mkdir(parents=True)
    make_file(mine)
    make_file(mine.with_name("dump-0.pkl"))
    with pytest.raises(TargetError) as refusal, open_staging(target):
        pytest.fail("it must not start")
    assert f"{mine.parent} holds 'thesis.tex', which no dataset has; move it" in str(refusal.value)
    assert sorted(os.listdir(mine.parent)) == ["dump-0.pkl", "thesis.tex"]
    assert num_shards_of(target) == 2


KILL_CAMPAIGN = """
import os, signal, sys
from pathlib import Path
from codedata.store import publishing
from codedata_tests.campaigns.small_publish import no_exchange
from codedata_tests.store.small_datasets import num_shards_of, publish

os.fsync = lambda _: None  # kills lose nothing that is written
target = Path(sys.argv[1]) / "dataset"
if sys.argv[2] == "fallback":
    publishing.exchange = no_exchange
EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "ctypes.dlsym"}

def die_at(step):
    left = [step]
    def count(event, _arguments):
        if event in EVENTS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)

found = []
publish(target, 2)  # what is imported and encoded for it is no step of the child
for step in range(1, 1000):
    publish(target, 3)
    child = os.fork()
    if child == 0:
        die_at(step)
        publish(target, 2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found.append(num_shards_of(target) if target.exists() else 0)
    with publishing.open_staging(target):
        assert num_shards_of(target) == (found[-1] or 3), step
    publish(target, 1)
    assert num_shards_of(target) == 1, step
    assert os.listdir(target.parent) == ["dataset"], step
    if status == 0:
        break
print(*found)
"""


def test_a_publish_killed_at_any_step_leaves_the_old_or_the_new_dataset(
    tmp_path: Path, way: str
) -> None:
    """Row 17: one child for every file it opens and every name it makes, changes or removes.

    Where folders cannot be exchanged there is a moment without a dataset, in which the old one's
    facts and card are read; the next run, and only that, gives the old one back.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILL_CAMPAIGN, str(tmp_path), way],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found = [int(number) for number in done.stdout.split()]
    assert found[-1] == 2, "the last one was not killed"
    assert found.count(3) > 15
    assert found.count(2) > 5
    assert found.count(0) == (0 if way == "exchange" else 3)
    assert found == sorted(found, key=[3, 0, 2].index), "first the old one, then the new one"


# Readers


READER = """
import sys
from pathlib import Path
from codedata_tests.store.small_datasets import num_shards_of

target, enough = Path(sys.argv[1]), int(sys.argv[2])
seen = {2: 0, 5: 0}
changes, before = 0, 0
print("ready", flush=True)
while min(changes, *seen.values()) < enough:
    now = num_shards_of(target)
    seen[now] += 1
    changes, before = changes + (now != before), now
"""


@pytest.mark.parametrize(
    "num_changes", [25, pytest.param(500, marks=(pytest.mark.long, pytest.mark.timeout(600)))]
)
def test_a_reader_sees_only_whole_datasets_while_others_are_published(
    num_changes: int, tmp_path: Path
) -> None:
    """Row 30: datasets of two shards, with sidecars, and of five in turn.

    A mixture fails an assert of `READER`, which opens them until it has seen so many changes.
    """
    target = tmp_path / "dataset"
    publish(target, 2)
    if not publishing.exchange(target, target.with_name("dataset")):
        pytest.skip(f"the filesystem of {tmp_path} does not exchange folders")
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(target), str(num_changes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            while reader.poll() is None:
                publish(target, 5)
                publish(target, 2)
        finally:
            reader.kill()
        _, errors = reader.communicate()
    assert reader.returncode == 0, errors
    assert os.listdir(tmp_path) == ["dataset"]


# Other users


READ_ONLY_TARGET = """
import os, sys
from pathlib import Path
from codedata.errors import CodedataError
from codedata_tests.store.small_datasets import num_shards_of, publish

os.chdir(sys.argv[1])
os.setuid(65534)
target = Path("dataset")
publish(target, 2)
target.chmod(0o555)
try:
    publish(target, 3)
except (CodedataError, OSError) as error:
    assert "dataset" in str(error), error
    assert num_shards_of(target) == 2
    target.chmod(0o755)
    publish(target, 3)
assert num_shards_of(target) == 3
assert os.listdir() == ["dataset"], os.listdir()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_dataset_that_its_owner_made_read_only_blocks_no_later_run() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, -1)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY_TARGET, folder],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
