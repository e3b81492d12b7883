"""Documents that held-out windows share: counted against a plain count, and those that are cut."""

import random
from collections import Counter
from pathlib import Path

from codedata.format.ranges import CharRange
from codedata.run.shared_documents import SharedDocuments, find_shared, judge_shared
from codedata.sources.parquet.text import ParquetText, Window
from codedata_tests import scenario


def window(text: ParquetText, start: int, stop: int, file: int = 0) -> Window:
    return Window(text=text, chars=text.clip(CharRange(start, stop, file)))


def test_a_document_in_both_windows_counts_each_time_it_stands_in_the_split(
    tmp_path: Path,
) -> None:
    documents = ["one", "two", "two", "", "üben", "end", "two", "", "one!", "üben", "two", "last"]
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=2))
    border = len(scenario.plain_text(documents[:6])) + 1
    train, held_out = window(text, 0, border), window(text, border, 10**9)
    found = find_shared([held_out], {"train": [train]})
    assert found == SharedDocuments(num_documents=5, num_shared=3, shared_with={"train": 3}, cut=[])
    assert find_shared([train], {"held": [held_out]}).num_shared == 3  # two, two and üben
    outcome = judge_shared("held", found)
    assert not outcome.passed
    assert outcome.description == ("3 of 5 documents of held stand, byte for byte, in train too")


def test_the_document_that_a_border_cuts_is_named_and_is_no_copy_of_itself(
    tmp_path: Path,
) -> None:
    documents = ["a" * 10, "b" * 10, "c" * 10]
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", documents))
    found = find_shared([window(text, 15, 33)], {"train": [window(text, 0, 15)]})
    assert (found.num_documents, found.num_shared, found.cut) == (2, 0, [CharRange(11, 21)])
    outcome = judge_shared("held", found)
    assert outcome.passed
    assert outcome.description == (
        "none of 2 documents of held stands, byte for byte, in train; 1 more, cut by the border, "
        "begins in one split and goes on in the other (characters 11 to 21)"
    )
    again = ParquetText(scenario.write_parquet(tmp_path / "d.parquet", [*documents, "b" * 10]))
    found = find_shared([window(again, 15, 33)], {"train": [window(again, 0, 15)]})
    assert (found.num_shared, len(found.cut)) == (0, 1), "the second copy is in neither"
    found = find_shared(
        [window(again, 15, 33)], {"train": [window(again, 0, 15)], "rest": [window(again, 33, 99)]}
    )
    assert (found.num_shared, found.shared_with) == (1, {"train": 0, "rest": 1})


def test_whole_documents_belong_to_the_window_in_which_they_begin(tmp_path: Path) -> None:
    """And run into the next, if that takes characters: its split has the rest of one."""
    documents = ["a" * 10, "b" * 10, "c" * 10]
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", documents))
    first, second = window(text, 0, 15), window(text, 15, 33)

    def shared(own: Window, other: Window, **whole: bool | list[str]) -> tuple[int, int]:
        found = find_shared([own], {"other": [other]}, **whole)  # pyright: ignore[reportArgumentType]
        assert not found.num_shared
        return found.num_documents, len(found.cut)

    assert shared(second, first, is_whole=True, whole=["other"]) == (1, 0)
    assert shared(first, second, is_whole=True, whole=["other"]) == (2, 0)
    assert shared(second, first, is_whole=True) == (1, 0), "the other has a part of b, this nothing"
    assert shared(second, first, whole=["other"]) == (2, 1), "the other has b, this its end"
    assert shared(first, second, is_whole=True) == (2, 1)


def test_other_files_and_corpora_are_compared_and_files_keep_their_numbers(tmp_path: Path) -> None:
    documents = scenario.c_documents(9)
    here = [
        ParquetText(
            scenario.write_parquet(tmp_path / f"{file}.parquet", documents[file : file + 5])
        )
        for file in range(2)
    ]
    found = find_shared([window(here[1], 0, 10**9, 1)], {"train": [window(here[0], 0, 10**9)]})
    assert (found.num_documents, found.num_shared, found.cut) == (5, 4, [])


def test_counts_are_those_of_a_plain_count_for_any_windows(tmp_path: Path) -> None:
    random_ = random.Random(3)
    documents = [random_.choice("abcdefgh") * random_.randrange(4) for _ in range(300)]
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", documents))
    starts = [0]
    for document in documents:
        starts.append(starts[-1] + len(document) + 1)
    for _ in range(20):
        first, border, last = sorted(random_.sample(range(len(documents) + 1), 3))
        own, other = documents[first:border], documents[border:last]
        windows = [
            [window(text, starts[a], starts[b] - 1)] for a, b in ((first, border), (border, last))
        ]
        found = find_shared(windows[0], {"other": windows[1]})
        assert found.num_documents == sum(map(bool, own))
        counts = Counter(filter(None, own))
        assert found.num_shared == sum(counts[each] for each in {*other} if each)
        assert found.cut == []


def test_where_no_text_of_others_is_here_that_is_said(tmp_path: Path) -> None:
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", ["a", "b"]))
    found = find_shared([window(text, 0, 9)], {})
    outcome = judge_shared("held", found, {"train": "corpus 'c' is not materialized"})
    assert not outcome.passed
    assert outcome.description == "not compared with train: corpus 'c' is not materialized"
