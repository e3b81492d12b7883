"""Languages by the names of files, as github-linguist's list has them."""

import json
from pathlib import Path

import pytest

from codedata.errors import CorpusError
from codedata.layout import Layout
from codedata.progress import SILENT
from codedata.sources.folders import walk_folders
from codedata.sources.kinds.folders import FoldersSource
from codedata.sources.languages import (
    CODE_EXTENSIONS,
    TABLE,
    ending_of,
    of_languages,
    with_extensions,
)
from codedata_tests.sources.test_folders import write_files


def test_a_language_has_the_endings_and_the_whole_names_of_linguist_s_list() -> None:
    taken = of_languages(["Makefile", "c"])
    names = [
        "Makefile",
        "x.mk",
        "a.c",
        "a.h",
        "Makefile.am",
        "makefile",
        "CMakeLists.txt",
        "a.C",
        ".c",
    ]
    assert [name for name in names if name in taken] == names[:6]
    assert [taken.language(name) for name in names[:4]] == ["Makefile", "Makefile", "C", "C"]
    assert "xy.x.c" in taken


def test_an_ending_of_several_languages_is_of_the_usual_one_that_was_named_or_the_first() -> None:
    for languages, language in [
        (["C++"], "C++"), (["C++", "C"], "C"), (["C", "C++"], "C"),
        (["Objective-C", "C++"], "C++"), (["C++", "Objective-C"], "C++"),
    ]:  # fmt: skip
        assert of_languages(languages).language("a.h") == language
    assert with_extensions(["h", "nix"]).language("a.h") == "C"
    assert with_extensions(["h", "nix"]).language("a.nix") is None


def test_a_language_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        CorpusError, match=r"names 'Pyhton', .*; did you mean Python\?; or name end"
    ):
        of_languages(["C", "Pyhton"])
    with pytest.raises(CorpusError, match=r"there are [0-9]+, such as C"):
        of_languages(["qqqq"])


def test_the_table_says_where_it_is_from_and_under_which_licence_and_has_the_common_endings() -> (
    None
):
    table = json.loads(TABLE.read_bytes())
    assert (table["licence"], len(table["commit"])) == ("MIT", 40)
    assert "Permission is hereby granted, free of charge" in table["notice"]
    assert "github-linguist" in table["from"]
    everything = of_languages([*table["languages"]])
    # The Stack's R in capitals, and tsx, which linguist has as a language of its own, TSX.
    assert {each for each in CODE_EXTENSIONS if each not in everything.endings} == {"R"}


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.c", "c"), ("a.b.c", "c"), (".c", ""), ("a", ""), ("a.", ""), ("..c", "c")],
)
def test_an_ending_follows_the_last_dot_of_a_name_that_it_does_not_begin(
    name: str, ending: str
) -> None:
    assert ending_of(name) == ending


def test_the_language_that_files_are_taken_for_is_a_change_and_the_usual_one_is_none(
    tmp_path: Path,
) -> None:
    folder = write_files(tmp_path / "p", {"a.h": "int a;\n", "b.c": "int b;\n"})
    walks = [
        walk_folders({"p": folder}, taken)
        for taken in (with_extensions(["c", "h"]), of_languages(["C"]), of_languages(["C", "C++"]))
    ]
    assert len({walk.fingerprint for walk in walks}) == 1
    headers = walk_folders({"p": folder}, with_extensions(["h"])).fingerprint
    assert walk_folders({"p": folder}, of_languages(["C++"])).fingerprint != headers


def test_a_corpus_is_made_of_languages_and_says_how_many_links_and_ignored_files_there_are(
    tmp_path: Path,
) -> None:
    folder = write_files(
        tmp_path / "p",
        {"a.h": "int a;\n", "CMakeLists.txt": "x", "out/b.c": "", ".gitignore": "out\nc.h\n",
         "c.h": "", "c.o": ""},
    )  # fmt: skip
    (folder / "link.h").symlink_to("a.h")
    (folder / "linked").symlink_to("out")
    place = Layout(tmp_path).corpus("c")
    place.mkdir(parents=True)
    fields = {"folders": {"p": str(folder)}, "languages": ["CMake", "C++"]}
    source = FoldersSource.model_validate(fields)
    corpus = source.materialize(0, place, SILENT, update=False)
    assert corpus.open_text().first_documents(9) == ["x", "int a;\n"]
    skipped = corpus.origin["skipped"]
    assert (skipped["link"], skipped["ignored"], skipped["empty"]) == (2, 2, 0)
    assert source.is_current(corpus)
    everything = FoldersSource.model_validate({**fields, "gitignore": False})
    assert not everything.is_current(corpus)
    skipped = everything.materialize(0, place, SILENT, update=False).origin["skipped"]
    assert (skipped["link"], skipped["ignored"], skipped["empty"]) == (2, 0, 1)
