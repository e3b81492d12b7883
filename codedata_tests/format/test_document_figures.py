"""What people are told of documents: figures worked out by hand."""

from codedata.format.document_figures import document_figures
from codedata.format.documents import DocumentCounts

PLAIN = DocumentCounts(
    documents=1_010, empty=7, with_control_tokens=3, tokens=20_000, tokens_packed=19_000,
    tokens_dropped=1_000, cut=250, cut_though_short=50, pieces=1_000, padding=5,
)  # fmt: skip
WITH_FIM = PLAIN + DocumentCounts(
    pieces=1_000, psm=500, spm=480, fim_too_long=20, fim_left_plain=40
)


def test_documents_are_those_that_samples_have_and_what_was_left_out_is_said() -> None:
    assert document_figures(PLAIN) == [
        ("documents", "1,000 of 1,010"),
        ("documents left out", "7 empty, 3 with control tokens"),
        ("tokens of documents", "20,000"),
        ("tokens dropped at the ends of chunks", "1,000 (5.0%)"),
        ("documents cut over samples", "250 (25.0%)"),
        ("cut though a sample could hold them", "50"),
    ]
    assert document_figures(DocumentCounts(documents=2, tokens=5))[:2] == [
        ("documents", "2"),
        ("tokens of documents", "5"),
    ]
    assert document_figures(DocumentCounts())[0] == ("documents", "0")


def test_fill_in_the_middle_is_shares_of_the_pieces_by_form() -> None:
    assert document_figures(WITH_FIM)[6:] == [
        ("pieces of documents", "2,000"),
        ("pieces asked prefix first", "500 (25.0%)"),
        ("pieces asked suffix first", "480 (24.0%)"),
        ("pieces drawn, but too long permuted", "20 (1.0%)"),
        ("pieces drawn, but not to be permuted", "40 (2.0%)"),
    ]
