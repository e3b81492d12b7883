"""The three checks of documents: each can fail, and says what is wrong where."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from codedata.format.documents import DocumentCounts
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.ranges import CharRange
from codedata.recipe.documents import Packing
from codedata.recipe.settings import Settings
from codedata.run.document_checks import check_documents
from codedata.run.found_documents import FoundDocuments
from codedata.store.chunks import LocalChunks, TokenChunk

SETTINGS = Settings(seq_length=4, min_sample_length=2, pad_token=9)
CHARS = [CharRange(0, 50), CharRange(50, 90)]
COUNTS = [
    DocumentCounts(documents=3, tokens=9, tokens_packed=8, tokens_dropped=1, pieces=3),
    DocumentCounts(documents=1, empty=1),
]
"""Of nine tokens, `concat` packs two samples of four and drops one; the other chunk has none."""

FOUND = [
    FoundDocuments(chars=chars, counts=counts, num_undone=counts.pieces)
    for chars, counts in zip(CHARS, COUNTS, strict=True)
]
TOTAL = COUNTS[0] + COUNTS[1]


def failed(
    found: Sequence[FoundDocuments],
    reported: DocumentCounts | None = TOTAL,
    packing: Packing = "concat",
) -> dict[str, str]:
    """What failed checks say."""
    chunks = [
        TokenChunk(
            fingerprint=ChunkFingerprint(corpus_sha256="c", tokenizer_sha256="t", chars=chars),
            num_tokens=counts.tokens,
            ids_sha256="",
            engine="whole",
            compared_bytes=0,
            store=LocalChunks(Path()),
        )
        for chars, counts in zip(CHARS, COUNTS, strict=True)
    ]
    outcomes = check_documents(found, chunks, reported, SETTINGS, packing)
    assert list(outcomes) == ["spans", "document_tokens", "fim_undone"]
    return {name: each.description for name, each in outcomes.items() if not each.passed}


def test_what_is_right_passes_and_is_counted() -> None:
    assert failed(FOUND) == {}


def test_tokens_that_are_lost_or_invented_fail_whatever_is_reported() -> None:
    lost = replace(COUNTS[0], tokens_packed=4, tokens_dropped=5)
    found = [replace(FOUND[0], counts=lost), FOUND[1]]
    said = failed(found, lost + COUNTS[1])
    assert [*said] == ["document_tokens"]
    assert (
        "of 9 tokens of 0000000000-0000000050 samples hold 4, and 1 may be left out"
        in (said["document_tokens"])
    )
    assert [*failed(FOUND, packing="best_fit")] == ["document_tokens"], "which drops nothing"
    invented = replace(COUNTS[1], tokens=2, tokens_packed=2)
    assert [*failed([FOUND[0], replace(FOUND[1], counts=invented)], COUNTS[0] + invented)] == [
        "document_tokens"
    ]


@pytest.mark.parametrize(
    "reported",
    [None, DocumentCounts(), COUNTS[0], replace(TOTAL, padding=1), replace(TOTAL, empty=0)],
    ids=["nothing", "zeros", "one chunk of two", "padding", "empty ones"],
)
def test_facts_that_report_something_else_fail(reported: DocumentCounts | None) -> None:
    said = failed(FOUND, reported)
    assert [*said] == ["document_tokens"]
    assert "the facts report" in said["document_tokens"]


def test_wrong_spans_and_documents_that_are_not_given_back_are_named_with_their_chunk() -> None:
    wrong = replace(FOUND[0], wrong="sample 3 of dump-0.pkl has tokens that no span covers")
    said = failed([wrong, FOUND[1]])
    assert said == {
        "spans": "spans are wrong: 0000000000-0000000050: sample 3 of dump-0.pkl has tokens that "
        "no span covers"
    }
    other = replace(FOUND[0], not_given_back=(0, 2))
    assert failed([other, FOUND[1]]) == {
        "fim_undone": "documents have another text: 0, 2 of 0000000000-0000000050"
    }
