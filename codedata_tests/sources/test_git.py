"""A commit of a real git repository as a corpus: the parquet of a checkout, and refusals."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.progress import SILENT, Reporter
from codedata.sources import commits
from codedata.sources.kinds.folders import FoldersSource
from codedata.sources.kinds.git import GitSource
from codedata.sources.record import Corpus
from codedata.sources.registry import read_source
from codedata.sources.source_files import MAX_FILE_BYTES
from codedata_tests.sources.git_repositories import commit, git

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"

FILES: dict[str, str | bytes] = {
    "z.c": "int z;\n", "a.c": "int a;\n", "B.h": "int b;\n", "a/b.c": "int ab;\n",
    "a.d/x.h": "//x\n", "deep/er/ü.c": "// ü\r\n", "notes.txt": "no\n", "Makefile": "all:\n",
    "build/made.c": "made\n",
    "empty.c": "", "large.c": "x" * (MAX_FILE_BYTES + 1), "whole.c": "x" * MAX_FILE_BYTES,
    "pointer.c": POINTER, "binary.c": b"\0abc", "late.c": b"a" * 8000 + b"\0",
    "latin.c": "übergibt".encode("latin-1"), "a b\tc.c": "odd\n", "py.py": "pass\n",
}  # fmt: skip


@pytest.fixture(autouse=True)
def git_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests has said nothing about whose repositories they trust."""
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working copy with a commit of those files, links and a name that is not UTF-8."""
    folder = tmp_path_factory.mktemp("template") / "code"
    commit(folder, FILES)
    (folder / "link.c").symlink_to("a.c")
    (folder / "linked").symlink_to("a")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.c")).write_bytes(b"x")
    commit(folder, {})
    return folder


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Path:
    """Another one, with the same commit."""
    return Path(shutil.copytree(template, tmp_path / "code", symlinks=True))


def materialize(folder: Path, path: Path, **fields: Any) -> Corpus:
    source = GitSource(path=str(path), **fields)
    folder.mkdir(exist_ok=True)
    return source.materialize(0, folder, SILENT, update=False)


def names_of(corpus: Corpus) -> list[str]:
    return pq.read_table(corpus.path)["max_stars_repo_path"].to_pylist()


SKIPPED = {
    "empty": 1, "too_large": 1, "lfs_pointer": 1, "binary": 1, "not_utf8": 2, "link": 2,
}  # fmt: skip


def of_folder(folder: Path, copy: Path, **fields: Any) -> Corpus:
    folder.mkdir()
    source = FoldersSource(folders={"code": str(copy)}, **fields)
    return source.materialize(0, folder, SILENT, update=False)


def test_of_the_same_files_the_parquet_is_that_of_a_folder_byte_for_byte(
    copy: Path, tmp_path: Path
) -> None:
    bare, shallow, work = tmp_path / "code.git", tmp_path / "shallow", tmp_path / "work"
    git(tmp_path, "clone", "-q", "--bare", copy, bare)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{copy}", shallow)
    git(copy, "worktree", "add", "-q", work, "-b", "other")
    expected = of_folder(tmp_path / "of_folder", copy)
    assert names_of(expected) == [
        f"code/{name}"
        for name in ("B.h", "a b\tc.c", "a.c", "a.d/x.h", "a/b.c", "build/made.c", "deep/er/ü.c",
                     "late.c", "whole.c", "z.c")
    ]  # fmt: skip
    assert expected.origin["skipped"] == {**SKIPPED, "ignored": 0}
    for number, path in enumerate((copy, copy / ".git", bare, shallow, work)):
        found = materialize(tmp_path / str(number), path, name="code")
        assert Path(found.path).read_bytes() == Path(expected.path).read_bytes()
        assert found.origin["skipped"] == {**SKIPPED, "submodule": 0}
        assert found.origin["commit"] == git(copy, "rev-parse", "HEAD").decode().strip()


@pytest.mark.parametrize(
    ("fields", "num_rows"),
    [
        ({"extensions": ["c", "h"], "exclude": ["build", "code/deep/*", "a.?"]}, 7),
        ({"languages": ["Makefile", "C++", "python"]}, 4),
    ],
)
def test_the_fields_of_folders_choose_the_same_files_of_a_commit(
    fields: dict[str, Any], num_rows: int, copy: Path, tmp_path: Path
) -> None:
    expected = of_folder(tmp_path / "of_folder", copy, **fields)
    found = materialize(tmp_path / "c", copy, **fields)
    assert found.num_rows == num_rows
    assert Path(found.path).read_bytes() == Path(expected.path).read_bytes()


def test_a_repository_with_sha256_names_is_read_too(tmp_path: Path) -> None:
    made = commit(tmp_path / "new", {"a.c": "int a;\n"}, "--object-format=sha256")
    corpus = materialize(tmp_path / "c", tmp_path / "new", revision=made)
    assert names_of(corpus) == ["new/a.c"]
    assert len(corpus.origin["commit"]) == 64


def test_submodules_and_links_are_counted_and_what_is_ignored_but_committed_is_taken(
    tmp_path: Path,
) -> None:
    commit(tmp_path / "inner", {"i.c": "inner"})
    outer = tmp_path / "outer"
    commit(outer, {"a.c": "a", ".gitignore": "*.c\n"})
    git(outer, "submodule", "add", "-q", str(tmp_path / "inner"), "third/inner")
    commit(outer, {})
    corpus = materialize(tmp_path / "c", outer)
    assert names_of(corpus) == ["outer/a.c"]
    assert corpus.origin["skipped"]["submodule"] == 1
    corpus = materialize(tmp_path / "without", outer, exclude=["third"])
    assert corpus.origin["skipped"]["submodule"] == 0


def test_a_commit_is_kept_until_an_update_and_a_branch_that_moved_on_is_said(
    tmp_path: Path,
) -> None:
    copy, folder, said = tmp_path / "code", tmp_path / "c", list[str]()
    folder.mkdir()
    first = commit(copy, {"a.c": "a"})
    git(copy, "tag", "v1")
    source = GitSource(path=str(copy), revision="main")
    assert source.repository is not None

    def run(source: GitSource = source, *, update: bool = False) -> Corpus:
        return source.materialize(
            0, folder, Reporter(said.append, in_terminal=False), update=update
        )

    assert source.look(folder) == ""
    record = run()
    assert record.origin["commit"] == first == source.look(folder)
    assert said == []
    newer = commit(copy, {"b.c": "b"})
    assert source.repository.newest_commit(SILENT) == newer
    assert run() == record
    assert f"'main' of {copy} is {newer} by now; --update takes that" in said
    assert said[-1] == f"commit {first} is here already: {folder}/corpus.parquet is kept"
    again = run(GitSource(path=str(copy), revision="main", extensions=["c"]))
    assert again.origin == record.origin, "the endings that are new take no other commit"
    updated = run(update=True)
    assert (updated.origin["commit"], names_of(updated)) == (newer, ["code/a.c", "code/b.c"])
    assert source.look(folder) == newer
    assert names_of(run(GitSource(path=str(copy), revision="v1"))) == ["code/a.c"]
    named = GitSource(path=str(copy), revision=first)
    assert named.repository is None
    assert run(named).origin["commit"] == first


def test_a_commit_that_touches_no_file_of_the_corpus_gives_the_same_parquet(tmp_path: Path) -> None:
    commit(tmp_path / "code", {"a.c": "a"})
    source, folder = GitSource(path=str(tmp_path / "code")), tmp_path / "c"
    folder.mkdir()
    first = source.materialize(0, folder, SILENT, update=False)
    commit(tmp_path / "code", {"README": "new"})
    second = source.materialize(0, folder, SILENT, update=True)
    assert second.sha256 == first.sha256
    assert second.origin["commit"] != first.origin["commit"]


def test_a_kept_commit_that_is_gone_is_refused_with_the_way_on(tmp_path: Path) -> None:
    copy, folder = tmp_path / "code", tmp_path / "c"
    gone = commit(copy, {"a.c": "a"})
    materialize(folder, copy)
    shutil.rmtree(copy)
    commit(copy, {"a.c": "another"})
    with pytest.raises(CorpusError, match=f"no commit '{gone}'; .*newest with --update"):
        materialize(folder, copy)


def test_nothing_that_a_user_or_a_stranger_set_changes_what_is_read_or_is_run(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = materialize(tmp_path / "before", copy).sha256
    ran = tmp_path / "ran"
    for key in (
        "core.fsmonitor",
        "core.pager",
        "filter.x.smudge",
        "diff.x.textconv",
        "alias.ls-tree",
    ):
        git(copy, "config", key, f"!touch {ran}" if key.startswith("alias") else f"touch {ran}")
    (tmp_path / "attributes").write_text("* filter=x diff=x text eol=crlf\n")
    git(copy, "config", "core.attributesFile", str(tmp_path / "attributes"))
    shutil.copy(tmp_path / "attributes", copy / ".git" / "info" / "attributes")
    blob = git(copy, "rev-parse", "HEAD:a.c").decode().strip()
    git(copy, "replace", blob, git(copy, "rev-parse", "HEAD:z.c").decode().strip())
    other = tmp_path / "other"
    commit(other, {"o.c": "o"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git" / "objects"))
    monkeypatch.setenv("GIT_TRACE", str(ran))
    assert materialize(tmp_path / "after", copy).sha256 == expected
    assert not ran.exists()


def test_a_partial_clone_fetches_nothing_and_is_refused(copy: Path, tmp_path: Path) -> None:
    git(copy, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{copy}", partial)
    before = sorted((partial / ".git" / "objects").rglob("*"))
    with pytest.raises(CorpusError, match="is a partial clone that lacks files of the commit, and"):
        materialize(tmp_path / "c", partial)
    assert sorted((partial / ".git" / "objects").rglob("*")) == before


def test_a_repository_of_another_user_is_read_where_the_user_trusts_it(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        for path in (copy, *copy.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
    else:
        monkeypatch.setitem(commits._NO_CONFIGURATION, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    trusts = f"git config --global --add safe.directory {copy}"
    with pytest.raises(CorpusError, match=f"belongs to another user, and .*: {trusts}$") as refusal:
        materialize(tmp_path / "c", copy)
    assert "\n" not in str(refusal.value)
    (tmp_path / "config").write_text(f"[safe]\n\tdirectory = /elsewhere\n\tdirectory = {copy}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    assert "code/a.c" in names_of(materialize(tmp_path / "c", copy))


def test_an_object_that_is_damaged_or_gone_is_refused_by_its_path(
    copy: Path, tmp_path: Path
) -> None:
    blob = git(copy, "rev-parse", "HEAD:z.c").decode().strip()
    other = git(copy, "rev-parse", "HEAD:a.c").decode().strip()  # as long
    objects = copy / ".git" / "objects"
    place, another = (objects / each[:2] / each[2:] for each in (blob, other))
    place.chmod(0o644)
    place.write_bytes(another.read_bytes())
    with pytest.raises(CorpusError, match=f"z.c of the repository {copy} cannot be read whole"):
        materialize(tmp_path / "c", copy)
    assert not (tmp_path / "c" / "corpus.parquet").exists()
    place.unlink()
    with pytest.raises(CorpusError, match=f"z.c of the repository {copy} cannot be read whole"):
        materialize(tmp_path / "c", copy)


def without_git(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(copy))
    return copy


def empty(copy: Path, _: pytest.MonkeyPatch) -> Path:
    git(copy.parent, "init", "-q", copy.parent / "empty")
    return copy.parent / "empty"


Place = Callable[[Path, pytest.MonkeyPatch], Path]


@pytest.mark.parametrize(
    ("place", "fields", "said"),
    [
        (lambda copy, _: copy, {"revision": "nope"}, "has no commit 'nope'; name a branch, a tag"),
        (lambda copy, _: copy, {"revision": "HEAD~1..HEAD"}, r"has no commit 'HEAD~1\.\.HEAD';"),
        (lambda copy, _: copy, {"revision": "HEAD:a.c"}, "has no commit 'HEAD:a.c'; name a branch"),
        (lambda copy, _: copy / "a", {}, "code/a is no git repository; name the folder of a"),
        (lambda copy, _: copy / "none", {}, "code/none of the corpus does not exist; name"),
        (lambda copy, _: copy / "a.c", {}, "code/a.c of the corpus does not exist; name"),
        (lambda copy, _: copy, {"extensions": ["rs"]}, "no file ending in rs is in .* at 'HEAD'"),
        (without_git, {}, "git, which reads the repository .*, is not installed; install it, or"),
        (empty, {}, "has no commit 'HEAD'; name a branch, a tag or a commit that it has"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(
    place: Place, fields: dict[str, Any], said: str, copy: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = place(copy, monkeypatch)
    with pytest.raises(CorpusError, match=said) as refusal:
        materialize(tmp_path / "c", path, **fields)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"path": "https://x.org/y.git"}, "another machine; fetch it with `git clone --bare ht"),
        ({"path": "ssh://git@x.org/y"}, "of another machine; fetch it with `git clone --bare ss"),
        ({"path": "git@x.org:me/y.git"}, "of another machine; fetch it with `git clone --bare gi"),
        ({"path": "ext::touch x"}, "path is 'ext::touch x', of another machine; fetch it with"),
        ({"path": "file:///x"}, "path is 'file:///x', a URL; write the path alone"),
        ({"path": " "}, "path is ' '; write a repository's path"),
        ({"path": "x", "revision": "--all"}, "revision is '--all'; name a branch, a tag or a"),
        ({"path": "x", "name": "a/b"}, "name is 'a/b'; write a name without a slash"),
        ({"path": "x", "languages": ["C+"]}, "languages names 'C+', which github-linguist's list"),
        ({"path": "x", "languages": ["C"], "extensions": ["h"]}, "(h) and languages (C); write"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_definitions_load(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(CorpusError) as refusal:
        read_source({"kind": "git", **fields}, "it")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_repository_is_called_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(tmp_path / "code.git", {"a.c": "a"})
    monkeypatch.chdir(tmp_path / "code.git")
    for path in (Path(), Path(".git"), Path("../code.git")):
        assert names_of(materialize(tmp_path / "c", path)) == ["code/a.c"]
