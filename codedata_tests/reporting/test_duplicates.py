"""Exact and near duplicates across windows, against plain Python sets of shingles."""

import re
from pathlib import Path

import pytest

from codedata.format.ranges import CharRange
from codedata.reporting.duplicates import Duplicates, Window, find_duplicates
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario


def text_of(folder: Path, documents: list[str | None], name: str = "c") -> ParquetText:
    folder.mkdir(exist_ok=True)
    return ParquetText(scenario.write_parquet(folder / f"{name}.parquet", documents))


def window_of(text: ParquetText, start: int = 0, stop: int = 10**9, file: int = 0) -> Window:
    return Window(text=text, chars=text.clip(CharRange(start, stop))._replace(file=file))


def compare(folder: Path, reference: list[str], other: list[str]) -> Duplicates:
    """Two texts of their own."""
    texts = [text_of(folder, list(reference), "r"), text_of(folder, list(other), "o")]
    return find_duplicates([window_of(texts[0])], [window_of(texts[1])])


def shingles(document: str) -> set[tuple[str, ...]]:
    pieces = re.findall(r"[A-Za-z0-9_\u0080-\U0010ffff]+|[^\s\x00-\x1f]", document)
    count = max(1, len(pieces) - 4)
    return {tuple(pieces[i : i + 5]) for i in range(count)} if pieces else set()


def similarity(first: str, second: str) -> float:
    a, b = shingles(first), shingles(second)
    return len(a & b) / len(a | b)


FUNCTIONS = scenario.c_documents(40, seed=7)
LONG = "\n".join(FUNCTIONS[:4])


def test_a_document_that_is_the_same_is_exact(tmp_path: Path) -> None:
    found = compare(tmp_path, [FUNCTIONS[0], LONG, FUNCTIONS[1]], ["int other;", LONG])
    [twin] = found.twins
    assert (found.num_exact, found.num_near, found.num_documents) == (1, 0, 2)
    assert twin.exact
    assert twin.chars == (11, 11 + len(LONG), 0)
    assert twin.reference_chars.start == len(FUNCTIONS[0]) + 1
    assert twin.beginning == LONG[:300]


def test_a_document_with_a_few_changed_lines_is_near(tmp_path: Path) -> None:
    lines = LONG.split("\n")
    lines[3] = "\tint renamed = 7;"
    lines[-4] = "\treturn renamed + 1;"
    changed = "\n".join(lines)
    found = compare(tmp_path, [FUNCTIONS[9], LONG], [changed, FUNCTIONS[20]])
    [twin] = found.twins
    assert not twin.exact
    assert 0.8 <= twin.similarity < 1
    assert twin.similarity == pytest.approx(similarity(LONG, changed))


def test_an_indented_copy_differs_by_white_space_alone(tmp_path: Path) -> None:
    indented = LONG.replace("\n", "\n\t\t  ")
    [twin] = compare(tmp_path, [LONG], [indented]).twins
    assert (twin.exact, twin.similarity) == (False, 1.0)


def test_unrelated_documents_are_no_twins(tmp_path: Path) -> None:
    reference = ["".join(f"int name_{i}_{j};\n" for j in range(200)) for i in range(5)]
    other = ["".join(f"char *text_{i}_{j} = 0;\n" for j in range(200)) for i in range(5)]
    found = compare(tmp_path, reference, other)
    assert (found.num_documents, found.twins) == (5, ())


def test_a_common_header_alone_makes_no_twins(tmp_path: Path) -> None:
    licence = "/* " + " ".join(f"word{i}" for i in range(150)) + " */\n"
    reference = [licence + "".join(f"int a{i}_{j};" for j in range(60)) for i in range(30)]
    other = [licence + "".join(f"int b{i}_{j};" for j in range(60)) for i in range(30)]
    assert compare(tmp_path, reference, other).twins == ()


@pytest.mark.parametrize("seed", range(2))
def test_the_pairs_are_those_that_plain_python_finds(seed: int, tmp_path: Path) -> None:
    """Documents of few words, so that many are alike; each window is the larger one in turn."""
    functions = scenario.c_documents(8, seed=seed)
    documents = [f"{a[:400]}\n{b[:90]}" for a in functions for b in functions[:4]]
    reference, other = documents[::2] + [LONG] * (seed % 2 * 40), documents[1::2]
    found = compare(tmp_path, reference, other)
    expected = {
        sum(len(o) + 1 for o in other[:place]): max(similarity(r, document) for r in reference)
        for place, document in enumerate(other)
    }
    expected = {start: best for start, best in expected.items() if best >= 0.8}
    assert len(expected) > 3, "the documents are alike enough to say something"
    assert {twin.chars.start: twin.similarity for twin in found.twins} == pytest.approx(expected)
    [*similarities] = [twin.similarity for twin in found.twins if not twin.exact]
    assert similarities == sorted(similarities, reverse=True)


def test_exactly_the_threshold_is_near(tmp_path: Path) -> None:
    """Of 15 shingles 12 are common."""
    words = [f"w{i}" for i in range(16)]
    longer, shorter = " ".join([*words, "x", "y", "z"]), " ".join(words)
    assert similarity(longer, shorter) == 0.8
    assert len(compare(tmp_path, [longer], [shorter]).twins) == 1
    assert len(compare(tmp_path, [shorter], [longer]).twins) == 1


def test_the_document_that_a_border_cuts_is_in_both_and_no_twin(tmp_path: Path) -> None:
    text = text_of(tmp_path, [FUNCTIONS[0], LONG, FUNCTIONS[1]])
    border = len(FUNCTIONS[0]) + 1 + len(LONG) // 2
    found = find_duplicates([window_of(text, 0, border)], [window_of(text, border)])
    assert (found.num_in_both, found.num_documents, found.twins) == (1, 1, ())


def test_a_border_between_documents_cuts_none(tmp_path: Path) -> None:
    text = text_of(tmp_path, [LONG, LONG])
    border = len(LONG) + 1
    for start in (border - 1, border):  # the space between them is of neither
        found = find_duplicates([window_of(text, 0, start)], [window_of(text, start)])
        assert (found.num_in_both, found.num_documents, found.num_exact) == (0, 1, 1)


def test_empty_and_blank_documents_are_no_twins(tmp_path: Path) -> None:
    text = text_of(tmp_path, ["", LONG, " \n\t", None, ""])
    other = text_of(tmp_path, ["  ", "", FUNCTIONS[3], " \n\t"], "o")
    found = find_duplicates([window_of(text)], [window_of(other)])
    assert (found.num_documents, found.twins) == (1, ())
    blank = text_of(tmp_path, [" ", "\n"], "b")
    found = find_duplicates([window_of(text)], [window_of(blank)])
    assert (found.num_documents, found.twins) == (0, ())


def test_each_copy_has_a_twin_and_files_are_told_apart(tmp_path: Path) -> None:
    first = text_of(tmp_path, [FUNCTIONS[0]], "a")
    second = text_of(tmp_path, [FUNCTIONS[1], LONG], "b")
    other = text_of(tmp_path, [LONG, FUNCTIONS[2], LONG], "o")
    reference = [window_of(first, file=3), window_of(second, file=4)]
    found = find_duplicates(reference, [window_of(other, file=1)])
    assert [twin.chars.file for twin in found.twins] == [1, 1]
    assert {twin.reference_chars.file for twin in found.twins} == {4}
    assert found.num_exact == 2


def test_characters_beyond_ascii_are_parts_of_words(tmp_path: Path) -> None:
    document = " ".join(f"größe{i} 计算{i};" for i in range(20))
    changed = document.replace("größe7 ", "grosse7 ")
    [twin] = compare(tmp_path, [document], [changed]).twins
    assert twin.similarity == pytest.approx(similarity(document, changed))
