"""The documents that begin in a range: which, and where they are from."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.sources.columns import USUAL, Columns
from codedata.sources.origins import documents_of, origin_columns
from codedata.sources.parquet.text import ParquetText, Text
from codedata.sources.record import record_corpus
from codedata.sources.stored_text import store_corpus, text_of
from codedata_tests import scenario

WIDE = CharRange(0, 10**9)


def opened(folder: Path, columns: Columns = USUAL, **others: pa.Array) -> ParquetText:
    """Documents "a", null and "bb", with other columns."""
    path = folder / "c.parquet"
    pq.write_table(pa.table({"content": ["a", None, "bb"], **others}), path, row_group_size=2)
    text = ParquetText(path, columns=columns)
    assert text.clip(WIDE) == (0, 4, 0)
    return text


def origins(text: Text) -> dict[str, list[Any]]:
    return {name: [*each] for name, each in documents_of(text, CharRange(0, 4)).origins.items()}


NOTHING = [None, None]


def test_where_documents_are_from_is_said_by_columns_of_known_names(tmp_path: Path) -> None:
    version_1 = opened(
        tmp_path,
        max_stars_repo_name=pa.array(["me/a", "me/b", None]),
        max_stars_repo_path=pa.array([b"a.c", b"b.c", b"\xff.c"]).dictionary_encode(),
        max_stars_repo_licenses=pa.array([["MIT", "Zlib"], ["MIT"], []]),
        repo_name=pa.array(["no", "no", "no"]),
    )
    assert origins(version_1) == {
        "repository": ["me/a", None],
        "path": ["a.c", "\ufffd.c"],
        "licences": [["MIT", "Zlib"], []],
    }
    of_code = opened(
        tmp_path,
        repo_name=pa.array([7, 8, 9]),
        path=pa.array(["a.c", "b.c", "c.c"]),
        license=pa.array(["mit", None, None]),
    )
    assert origins(of_code) == {
        "repository": NOTHING,
        "path": ["a.c", "c.c"],
        "licences": [["mit"], None],
    }
    nothing = {"repository": NOTHING, "path": NOTHING, "licences": NOTHING}
    assert origins(opened(tmp_path, size=pa.array([1, 2, 3]))) == nothing
    paths = pa.array(["a.c", "b.c", "c.c"])
    assert origins(opened(tmp_path, Columns(keep=()), path=paths)) == nothing


@pytest.mark.parametrize("is_stored", [False, True], ids=["a folder", "a store"])
def test_a_record_says_what_is_kept_before_its_text_is_read(
    is_stored: bool, tmp_path: Path
) -> None:
    names = pa.array(["me/a", "me/b", "me/c"])
    opened(tmp_path, Columns(keep=("size", "path")), path=names, size=pa.array([1, 2, 3]))
    columns = Columns(keep=("size", "path"))
    layout = Layout(tmp_path / "root", f"memory://{tmp_path.name}" if is_stored else None)
    folder = layout.corpus("c")
    corpus = record_corpus(folder, tmp_path / "c.parquet", {"kind": "local"}, columns=columns)
    text = text_of(folder, store_corpus(layout, folder, corpus))
    assert text.kept_names == ("size", "path")
    assert origin_columns(text.kept_names) == {"path": "path"}
    assert origins(text) == {"repository": NOTHING, "path": ["me/a", "me/c"], "licences": NOTHING}
    assert text.kept(np.array([2])).to_pydict() == {"size": [3], "path": ["me/c"]}


def test_of_documents_that_begin_before_a_range_none_is_chosen(tmp_path: Path) -> None:
    path = scenario.write_parquet(tmp_path / "c.parquet", ["a" * 1_000, "b", "c" * 50, "", "d"])
    text = ParquetText(path)
    assert text.clip(WIDE) == (0, 1_056, 0)
    of_all = documents_of(text, CharRange(0, 1_056))
    assert [len(each) for each in of_all.texts] == [1_000, 1, 50, 0, 1]
    assert of_all.rows.tolist() == [*range(5)]
    some = of_all.some(np.array([1, 4]))
    assert [bytes(each) for each in some.texts] == [b"b", b"d"]
    assert some.rows.tolist() == [1, 4]
    assert [bytes(each) for each in documents_of(text, CharRange(1, 1_002)).texts] == [b"b"]
    assert not len(documents_of(text, CharRange(1, 900)).texts)
