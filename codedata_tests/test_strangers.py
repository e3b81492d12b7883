"""Folders that others can write: what a stranger put there is refused, and no link is followed."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codedata.cli.instance import prepare_dagster_home
from codedata.errors import ChunkMismatchError, SettingsError, TargetError, UntrustedError
from codedata.format.ranges import CharRange
from codedata.parallel import ChunkThreads
from codedata.progress import SILENT
from codedata.recipe.settings import Settings
from codedata.run import compared
from codedata.run.plan import ChunkTask, open_plan
from codedata.run.tokenize import stored_chunks, tokenize_chunk
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks, TokenChunk
from codedata.store.files import remove_leftovers, replace_atomically, write_durably
from codedata.store.owners import why_not_trusted
from codedata.store.publishing import check_target, open_staging
from codedata.tokenize import fidelity
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests.scenario import PAD

STRANGER, GROUP = 54321, 54322
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
with_any_engine = pytest.mark.parametrize("tasks", ["auto", "whole"], indirect=True)


@pytest.fixture
def tasks(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> list[ChunkTask]:
    settings = Settings(pad_token=PAD, chars_to_tokenize=60_000, chunk_size=30_000)
    files = find_tokenizer(str(tokenizer_folder))
    engine = getattr(request, "param", "whole")
    plan = open_plan({0: ParquetText(corpus)}, settings, files, engine=engine)
    stored = LocalChunks(tmp_path / "root" / "chunks", shared=tmp_path / "root")
    return plan.tasks(lambda _: stored)


@pytest.fixture
def root(tasks: list[ChunkTask]) -> Path:
    return Path(tasks[0].chunks.where(tasks[0].chars)).parent.parent


@pytest.fixture
def chunks(tasks: list[ChunkTask]) -> list[TokenChunk]:
    made = [tokenize_chunk(task) for task in tasks]
    for chunk in made:
        compared.add_compared(chunk)
    return made


def stored_earlier(tasks: list[ChunkTask]) -> list[TokenChunk]:
    """The stored chunks as a process finds them that did not make them."""
    compared._known.clear()  # pyright: ignore[reportPrivateUsage]
    return stored(tasks)


def stored(tasks: list[ChunkTask]) -> list[TokenChunk]:
    with ChunkThreads(2) as threads:
        return stored_chunks(tasks, threads)


def rewrite(chunk: TokenChunk, ids: np.ndarray) -> None:
    chunk.store.put(chunk.fingerprint, ids, engine=chunk.engine, compared_bytes=1)


# What stands in a stored chunk


def test_chunks_that_this_user_compared_are_taken_without_their_text(
    tasks: list[ChunkTask], chunks: list[TokenChunk], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared.note(chunks)
    monkeypatch.setattr(ParquetText, "read_utf8", None)
    with pytest.raises(TypeError):
        stored_earlier(tasks)
    compared.recall(tasks)
    assert stored(tasks) == chunks
    elsewhere = [replace(task, chunks=LocalChunks(root / "copied")) for task in tasks]
    compared._known.clear()  # pyright: ignore[reportPrivateUsage]
    compared.recall(elsewhere)
    assert not any(map(compared.is_compared, chunks)), "others may have put them there"


@with_any_engine
def test_chunks_of_an_earlier_run_are_reused_and_those_with_wrong_ids_refused(
    tasks: list[ChunkTask], chunks: list[TokenChunk]
) -> None:
    assert len(chunks) == 2
    assert min(chunk.chars.num_chars for chunk in chunks) > fidelity.STORED_CHARS
    for _ in range(5):  # of another stretch each time
        assert stored_earlier(tasks) == chunks
    ids = chunks[1].read_ids().copy()
    one_in_ten = ids + (np.arange(len(ids)) % 10 == 0).astype(ids.dtype)
    for wrong in (ids[::-1].copy(), one_in_ten, ids[: len(ids) // 3], ids[:0]):
        rewrite(chunks[1], wrong)
        # A stretch may lie in the third that is right: not forty times.
        with pytest.raises(ChunkMismatchError) as refused:
            _ = [stored_earlier(tasks) for _ in range(40)]
        assert chunks[1].where in str(refused.value)
        assert "remove it, or the whole folder" in str(refused.value)


def test_a_chunk_that_was_replaced_since_this_process_made_it_is_compared_too(
    tasks: list[ChunkTask], chunks: list[TokenChunk]
) -> None:
    assert stored(tasks) == chunks
    rewrite(chunks[1], chunks[1].read_ids()[::-1].copy())
    with pytest.raises(ChunkMismatchError, match="does not hold the ids"):
        stored(tasks)


def test_nobody_can_foresee_what_will_be_compared(
    tasks: list[ChunkTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenize_chunk(tasks[0])
    asked: set[CharRange] = set()
    read = ParquetText.read_utf8

    def watched(self: ParquetText, chars: CharRange) -> np.ndarray:
        asked.add(chars)
        return read(self, chars)

    monkeypatch.setattr(ParquetText, "read_utf8", watched)
    for _ in range(6):
        stored_earlier(tasks[:1])
    assert all(chars.num_chars == fidelity.STORED_CHARS for chars in asked)
    assert len(asked) > 1
    asked.clear()
    stored(tasks[:1])
    assert not asked, "what this process has made or compared is not compared again"


# Whose it is


def give(path: Path, *, user: int = 0, group: int = 0, mode: int) -> None:
    os.chown(path, user, group)
    path.chmod(mode)


@pytest.fixture
def lone(tmp_path: Path) -> Path:
    """A file that a trust is asked of."""
    (path := tmp_path / "chunk").touch()
    return path


def why_not(path: Path) -> str | None:
    return why_not_trusted(path, path.stat(), path.parent)


@as_root
def test_what_a_stranger_wrote_or_may_write_is_refused_unless_the_root_is_the_groups_to_write(
    lone: Path,
) -> None:
    for (user, group, mode), (root_group, root_mode), why in (
        ((STRANGER, GROUP, 0o644), (0, 0o755), f"it belongs to the user {STRANGER}"),
        ((0, 0, 0o646), (0, 0o755), "everybody may write it"),
        ((0, GROUP, 0o664), (0, 0o755), f"the group {GROUP} may write it"),
        ((STRANGER, GROUP, 0o664), (GROUP, 0o2775), "None"),
        ((STRANGER, GROUP, 0o664), (GROUP, 0o2755), f"the group {GROUP} may write it"),
        ((STRANGER, GROUP, 0o664), (GROUP, 0o2777), f"the group {GROUP} may write it"),
        ((0, GROUP, 0o664), (GROUP + 1, 0o2775), f"the group {GROUP} may write it"),
    ):
        give(lone, user=user, group=group, mode=mode)
        give(lone.parent, group=root_group, mode=root_mode)
        assert str(why_not(lone)).startswith(why)


@as_root
def test_a_group_gives_no_trust_where_everybody_may_make_files_of_its_group(tmp_path: Path) -> None:
    give(tmp_path, group=GROUP, mode=0o2775)
    (inner := tmp_path / "chunks").mkdir()
    (path := inner / "chunk").touch()
    give(path, user=STRANGER, group=GROUP, mode=0o644)
    for mode, why in ((0o2775, None), (0o2777, f"it belongs to the user {STRANGER}")):
        give(inner, group=GROUP, mode=mode)
        assert why_not_trusted(path, path.stat(), tmp_path) == why


@as_root
def test_behind_sudo_is_the_user_who_called_it(lone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(lone, user=STRANGER, group=STRANGER, mode=0o644)
    assert why_not(lone) is not None
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    assert why_not(lone) is None


def test_where_a_filesystem_gives_every_file_one_mode_none_is_held_against_it(
    lone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lone.chmod(0o666)
    assert why_not(lone) is not None
    fstat = os.fstat

    def all_alike(descriptor: int) -> os.stat_result:
        mode, *others = fstat(descriptor)
        return os.stat_result([int(mode) | 0o777, *others])

    monkeypatch.setattr(os, "fstat", all_alike)
    assert why_not(lone) is None


@as_root
def test_a_strangers_chunk_ends_the_run_in_one_line(
    tasks: list[ChunkTask], chunks: list[TokenChunk]
) -> None:
    os.chown(chunks[0].where, STRANGER, -1)
    with pytest.raises(UntrustedError, match=f"it belongs to the user {STRANGER}") as refused:
        stored(tasks)
    assert "\n" not in str(refused.value)
    assert chunks[0].where in str(refused.value)


@contextmanager
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def test_nothing_is_for_everybody_to_write_whatever_the_umask(
    tasks: list[ChunkTask], tmp_path: Path
) -> None:
    with no_umask(), open_staging(check_target(tmp_path / "dataset")) as staging:
        chunk = tokenize_chunk(tasks[0])
        staging.add_shard(0, memoryview(b"a shard"))
        paths = (Path(chunk.where), staging.folder, staging.stage)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
    assert modes[:2] == [0o644, 0o755]
    assert not modes[2] & 0o002
    assert stored(tasks[:1]) == [chunk]


@as_root
def test_a_stranger_s_file_that_takes_a_chunk_s_place_later_is_refused_too(
    tasks: list[ChunkTask], chunks: list[TokenChunk]
) -> None:
    for chunk in (chunks[0], stored(tasks)[1]):  # just made, and found
        path = Path(chunk.where)
        copy = path.with_name("copy")
        copy.write_bytes(path.read_bytes())
        os.chown(copy, STRANGER, STRANGER)
        copy.replace(path)
        with pytest.raises(UntrustedError, match=f"it belongs to the user {STRANGER}"):
            chunk.read_ids()


# Work folders

WORK_FOLDERS = (".", "chunks", "stage", "previous")


def refuse_to_stage(folder: Path, why: str) -> None:
    with pytest.raises(TargetError, match=why), open_staging(check_target(folder / "dataset")):
        pass


@as_root
def test_a_strangers_work_folder_is_refused(tmp_path: Path) -> None:
    for name in WORK_FOLDERS:
        folder = tmp_path / name / ".dataset.codedata" / name
        folder.mkdir(parents=True)
        os.chown(folder, STRANGER, STRANGER)
        refuse_to_stage(tmp_path / name, f"it belongs to the user {STRANGER}")


@as_root
def test_a_strangers_dagster_instance_names_no_code_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare() -> Path:
        monkeypatch.setenv("DAGSTER_HOME", "")
        return prepare_dagster_home(SILENT)

    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path))
    home = prepare()
    for name in ("dagster.yaml", "."):
        assert prepare() == home
        os.chown(home / name, STRANGER, STRANGER)
        with pytest.raises(SettingsError, match=f"to the user {STRANGER}, and it names code"):
            prepare()
        os.chown(home / name, 0, 0)


def test_what_a_planted_link_leads_to_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    for mine in ("dump-0.pkl", ".notes.tmp", "lock"):
        (precious / mine).write_bytes(b"mine")
    for name in WORK_FOLDERS:
        link = tmp_path / name / ".dataset.codedata" / name
        link.parent.mkdir(exist_ok=True, parents=True)
        link.symlink_to(precious)
        refuse_to_stage(tmp_path / name, "is a link, which no run makes")
    assert sorted(os.listdir(precious)) == [".notes.tmp", "dump-0.pkl", "lock"]
    assert (precious / "lock").read_bytes() == b"mine"


# Writes


def test_a_link_in_a_file_s_place_or_under_any_name_that_could_be_foreseen_is_not_followed(
    tmp_path: Path,
) -> None:
    (elsewhere := tmp_path / "elsewhere").write_bytes(b"mine")
    path = tmp_path / "report.html"
    for name in (path.name, f".{path.name}.tmp", f".{path.name}.{os.getpid()}.tmp", "dump-0.pkl"):
        (tmp_path / name).symlink_to(elsewhere)
    replace_atomically(path, b"new")
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError, match=r"dump-0\.pkl"):
        write_durably(tmp_path / "dump-0.pkl", b"new")
    assert elsewhere.read_bytes() == b"mine"


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 255), tmp_path / ("🙂" * 63)):
        replace_atomically(path, b"new")
        assert path.read_bytes() == b"new"


def test_what_a_killed_write_left_is_removed_once_it_is_surely_nobodys(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".a.arrow.0123.tmp", tmp_path / ".b.arrow.4567.tmp"
    for path in (old, fresh, tmp_path / "a.arrow"):
        path.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path, older_than=60)
    assert sorted(os.listdir(tmp_path)) == [".b.arrow.4567.tmp", "a.arrow"]
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["a.arrow"]
    remove_leftovers(tmp_path / "no folder")
