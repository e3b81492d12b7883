"""What git leaves out: in every case as git itself says."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import CorpusError
from codedata.sources.folders import Walk, walk_folders
from codedata.sources.gitignore import read_rules
from codedata.sources.languages import Taken
from codedata_tests.sources.git_repositories import commit, git
from codedata_tests.sources.test_folders import as_nobody

FILES = [
    "a.c", "b.c", "#.c", "!.c", "a .c", " ", "ü.c", "1.c", "[1].c", "\\.c", "a\\b.c", "x",
    "foo.c", "build/a.c", "build/keep/a.c", "build/keep/b.c", "src/a.c", "src/lib/a.c",
    "src/lib/deep/er/b.c", "foo/a.c", "foo/bar/a.c", "foo/foo/b.c", "foobar/a.c", "d/foo/a.c",
    "d/build/x.c", "d/e/a.c", "d/e/f/b.c", "a-b/a.c", "]/a.c", "d/a.c/b.c", "x-y/a.c",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with those files, none of them added."""
    folder = tmp_path_factory.mktemp("tree")
    commit(folder, {})
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


EVERYTHING = Taken(
    said="of any name",
    endings={"c": None},
    names=dict.fromkeys([" ", "x", "rules", ".gitignore"], "any"),
)


def names_in(walk: Walk) -> set[str]:
    return {file.name.removeprefix("p/") for file in walk.files if file.name.startswith("p/")}


def require_as_git(tree: Path, texts: Mapping[str, bytes]) -> set[str]:
    """The files that a walk finds, which are those that git lists, with these ignore files."""
    for name, text in texts.items():
        (tree / name).write_bytes(text)
    try:
        listed = git(tree, "ls-files", "-z", "--others", "--exclude-standard")
        places = {"p": tree, "kept": tree / "x-y"}  # none is refused, whatever the patterns
        found = names_in(walk_folders(places, EVERYTHING, gitignore=["p"]))
        assert found == {os.fsdecode(name) for name in listed.split(b"\0") if name}
    finally:
        for name in texts:
            (tree / name).unlink()
    return found


TABLE = [
    "*.c", "build", "build/", "/build", "/a.c", "build/**\n!build/keep/b.c",
    "build/*\n!build/keep", "build/\n!build/keep/a.c", "*\n!*/\n!*.c",
    "/*\n!/src/\n/src/*\n!/src/lib/", "*/\n!src/", "foo", "foo/bar", "**/foo", "**/foo/",
    "foo/**", "**", "*", "/**/a.c", "src/**/b.c", "src/**/a.c", "src**/a.c", "foo**/a.c", "fo?/",
    "?.c", "\\#.c", "#.c", "\\!.c", "!.c", "a\\ .c", "a .c  ", " ", "\\ ", "[ab].c", "[!ab].c",
    "[^a].c", "[a-b].c", "[b-a].c", "[[:digit:]].c", "[[:nonsense:]].c", "[\\[]1].c", "\\[1].c",
    "[1].c", "[]]/a.c", "[a", "a\\", "\\\\.c", "a\\\\b.c", "a.c\r", "a.c\r\n", "\ufeffa.c", "\t",
    "d/*/a.c", "d/**/*.c", "/", "//", "!", "a.c\n!a.c", "!a.c\na.c", "src/l*b/", "*a*",
    "d/e/**/b.c", "**/e/f/**", "***/a.c", "d[/]e", "d/e\\/a.c", "*.c\n!/d/**/a.c", "",
]  # fmt: skip


@pytest.mark.parametrize("text", TABLE)
def test_a_pattern_leaves_out_what_git_leaves_out(text: str, tree: Path) -> None:
    require_as_git(tree, {".gitignore": text.encode()})


def test_inner_files_go_before_outer_ones_and_those_before_info_exclude(tree: Path) -> None:
    found = require_as_git(
        tree,
        {
            ".git/info/exclude": b"a.c\n!b.c\n",
            ".gitignore": b"*.c\n!/a.c\n/foo/\n",
            "src/.gitignore": b"!lib/a.c\n!b.c\n",
            "src/lib/.gitignore": b"/a.c\n",
            "src/lib/deep/.gitignore": b"!/a.c\n",
            "foo/.gitignore": b"!*\n",
            "d/.gitignore": b"!*.c\n/e/f\n",
        },
    )
    assert {"a.c", "src/lib/deep/er/b.c", "d/e/a.c", "d/build/x.c"} <= found
    assert not found & {"foo/a.c", "src/lib/a.c", "b.c", "d/e/f/b.c"}


ATOMS = st.sampled_from([
    "a", "b", "c", "d", "e", "foo", "build", ".c", "/", "/", "*", "*", "**", "**/", "/**", "***",
    "?", "\\", "[ab]", "[!a]", "[^b-c]", "[]-a]", "[[:alpha:]]", "[[:x:]]", "[a", "-", "]", "!",
    "#", " ", "\\ ", "\\/", "[a/]", "[\\]a]", "[c-a]", "ü", "\t",
])  # fmt: skip
LINES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "!", "/"]),
    st.lists(ATOMS, min_size=1, max_size=6).map("".join),
    st.sampled_from(["", "", "/"]),
)
TEXTS = st.lists(LINES, max_size=4).map(lambda lines: "\n".join(lines).encode())
PLACES = [".gitignore", ".git/info/exclude", "src/.gitignore", "d/.gitignore", "foo/.gitignore"]
GENERATED = st.dictionaries(st.sampled_from(PLACES), TEXTS, min_size=1)


@settings(max_examples=40)
@given(texts=GENERATED)
def test_whatever_the_patterns_what_is_left_out_is_what_git_leaves_out(
    texts: dict[str, bytes], tree: Path
) -> None:
    require_as_git(tree, texts)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=20_000)
@given(texts=GENERATED)
def test_of_twenty_thousand_sets_of_patterns_none_is_taken_otherwise_than_by_git(
    texts: dict[str, bytes], tree: Path
) -> None:
    require_as_git(tree, texts)


def test_a_folder_in_a_repository_or_in_a_worktree_goes_by_the_rules_above_it(
    tmp_path: Path,
) -> None:
    main, work = tmp_path / "main", tmp_path / "work"
    commit(main, {"src/keep.c": "", ".gitignore": "/src/*.o.c\nsrc/\n", "src/in/x.c": ""})
    git(main, "worktree", "add", "-q", work, "-b", "other")
    (main / ".git" / "info" / "exclude").write_text("mine.c\n")
    for folder in (main, work):
        (folder / ".gitignore").write_text("/src/*.o.c\n/in\n")
        for name in ("src/a.o.c", "src/in/mine.c", "src/mine.c"):
            (folder / name).write_text("")
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(folder / "src")
        for place in (folder / "src", tmp_path / "link"):
            walk = walk_folders({"p": place}, EVERYTHING, gitignore=["p"])
            assert names_in(walk) == {"keep.c", "in/x.c"}
            assert walk.passed_over == {"link": 0, "ignored": 3}
        assert len(walk_folders({"p": folder / "src"}, EVERYTHING).files) == 5


def test_a_git_folder_is_never_walked_and_rules_that_are_a_link_or_a_folder_are_none(
    tmp_path: Path,
) -> None:
    for name in (".git/hooks/a.c", "in/.git/b.c", "in/.gitignore/c.c", "a.c", "rules"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("*\n")
    (tmp_path / ".gitignore").symlink_to("rules")
    expected = {"in/.gitignore/c.c", "a.c", "rules"}
    for gitignore in ([], ["p"]):
        assert names_in(walk_folders({"p": tmp_path}, EVERYTHING, gitignore=gitignore)) == expected


def test_rules_that_cannot_be_read_are_refused() -> None:
    folder = Path(tempfile.mkdtemp())  # the folders above tmp_path are root's alone
    folder.chmod(0o777)
    try:
        (folder / "a.c").touch()
        (folder / ".gitignore").touch(mode=0)
        denied = f"{folder} of the corpus cannot be read: Permission denied"
        with as_nobody(), pytest.raises(CorpusError, match=denied):
            walk_folders({"p": folder}, EVERYTHING, gitignore=["p"])
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("pattern", ["*a" * 40 + "b", "**/a/" * 40 + "b", "x" + "/*a*" * 30 + "b"])
def test_a_hostile_pattern_takes_no_longer_than_others(pattern: str) -> None:
    rules = read_rules(pattern.encode())
    for path in (b"a" * 250, b"a/" * 2000 + b"a", b"x" + b"/aaaaaaa" * 30):
        assert rules.is_ignored(path, is_folder=False) is None
