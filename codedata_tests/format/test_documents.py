"""Figures of documents, which are added up over the chunks of a run, and the numbers of forms."""

from dataclasses import fields

from codedata.format.documents import PIECE_COLUMNS, DocumentCounts, Form


def test_each_figure_is_added_to_its_own() -> None:
    names = [field.name for field in fields(DocumentCounts)]
    some = DocumentCounts(**{name: 10**place for place, name in enumerate(names)})
    others = DocumentCounts(**{name: 2 * 10**place for place, name in enumerate(names)})
    assert vars(some + others) == {name: 3 * 10**place for place, name in enumerate(names)}
    assert sum([some, others], DocumentCounts()) == some + others


def test_the_numbers_of_forms_are_part_of_the_format() -> None:
    assert {form.name: form.value for form in Form} == {
        "PLAIN": 0,
        "PSM": 1,
        "SPM": 2,
        "TOO_LONG": 3,
        "LEFT_PLAIN": 4,
    }
    assert PIECE_COLUMNS == ("document", "num_tokens", "form")
