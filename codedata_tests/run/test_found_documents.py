"""What is found of a chunk's documents in its shards: a right one, and each way to be wrong."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from codedata.format.documents import ChunkDocuments, DocumentCounts, Form
from codedata.format.ranges import CharRange
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.recipe.documents import DocumentRecipe, FimIds, ResolvedRecipe
from codedata.run.found_documents import FoundDocuments, ShardOfDocuments, find_documents

PAD = 9
RECIPE = ResolvedRecipe(
    recipe=DocumentRecipe.of({"documents": {"eos": "e"}, "fim": {"tokens": ["p", "s", "m"]}}),
    bos=None,
    eos=8,
    fim=FimIds(prefix=4, suffix=6, middle=7),
)
CHARS = CharRange(0, 50)
DECISIONS = ["kept", "empty", "kept", "control tokens", "kept"]
DOCUMENTS = ChunkDocuments(
    ids=np.array([1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 5], np.uint16),
    pieces=np.array([[0, 3, 0], [2, 4, Form.PSM], [2, 2, Form.TOO_LONG], [4, 2, 0]], np.int32),
    table=pa.table(
        {
            "document": range(5), "file": [0] * 5, "row": [0, 1, 2, 4, 5],
            "characters": [3, 0, 9, 7, 2], "sha256": [f"{n}" * 64 for n in range(5)],
            "repository": [None] * 5, "path": [f"{n}.c" for n in range(5)],
            "licences": [["MIT"]] * 5, "decision": DECISIONS,
        },
        schema=DOCUMENT_SCHEMA,
    ),
)  # fmt: skip
"""Documents 0, 2 and 4 have tokens 1 2 3, 4 5 6 7 8 1 in two pieces, and 3 5."""


def shards() -> list[ShardOfDocuments]:
    """Samples [4 5 6 7] and [1 2 3 .], and in another shard [8 1 3 5]."""
    return [
        ShardOfDocuments(
            name="dump-0.pkl",
            ids=np.array([[4, 5, 6, 7], [1, 2, 3, PAD]], np.uint16),
            spans=np.array([[0, 0, 4, 2, 0, Form.PSM], [1, 0, 3, 0, 0, 0]], np.int32),
            table=DOCUMENTS.table.take([0, 1, 2, 3]),
        ),
        ShardOfDocuments(
            name="dump-1.pkl",
            ids=np.array([[8, 1, 3, 5]], np.uint16),
            spans=np.array([[0, 0, 2, 2, 4, 0], [0, 2, 4, 4, 0, 0]], np.int32),
            table=DOCUMENTS.table.take([2, 4]),
        ),
    ]


def found(
    shards: Sequence[ShardOfDocuments],
    gives_back: Callable[[int, Any], bool] = lambda *_: True,
    documents: ChunkDocuments = DOCUMENTS,
) -> FoundDocuments:
    return find_documents(
        CHARS, documents, shards, RECIPE, seq_length=4, pad_id=PAD, gives_back=gives_back
    )


def test_of_right_shards_all_is_counted_and_documents_are_put_together_from_them() -> None:
    taken: dict[int, list[tuple[list[int], int]]] = {}

    def gives_back(number: int, pieces: Any) -> bool:
        taken[number] = [(ids.tolist(), form) for ids, form in pieces]
        return number != 4

    one = found(shards(), gives_back)
    assert (one.wrong, one.num_spans) == ("", 4)
    assert (one.num_undone, one.not_given_back) == (3, (4,))
    assert taken == {
        0: [([1, 2, 3], Form.PLAIN)],
        2: [([4, 5, 6, 7], Form.PSM), ([8, 1], Form.TOO_LONG)],
        4: [([3, 5], Form.PLAIN)],
    }
    assert one.counts == DocumentCounts(
        documents=5, empty=1, with_control_tokens=1, tokens=11, tokens_packed=11, cut=1,
        pieces=4, psm=1, fim_too_long=1, padding=1,
    )  # fmt: skip


def test_of_tokens_that_no_shard_has_the_counts_say_it_and_cut_documents_are_not_judged() -> None:
    first, _ = shards()
    with_all = replace(first, table=DOCUMENTS.table)
    undone: list[int] = []
    one = found([with_all], lambda number, _: not undone.append(number))
    assert one.wrong == ""
    assert (one.counts.tokens, one.counts.tokens_packed, one.counts.tokens_dropped) == (11, 7, 4)
    assert undone == [0]
    nothing = found([])
    assert (nothing.wrong, nothing.counts.tokens_dropped, nothing.num_undone) == ("", 11, 0)


def with_ids(shard: ShardOfDocuments, sample: int, token: int) -> ShardOfDocuments:
    ids = shard.ids.copy()
    ids[sample, token] += 1
    return replace(shard, ids=ids)


def with_span(shard: ShardOfDocuments, at: int, column: int, value: int) -> ShardOfDocuments:
    spans = shard.spans.copy()
    spans[at, column] = value
    return replace(shard, spans=spans)


WRONG: dict[str, tuple[int, Callable[[ShardOfDocuments], ShardOfDocuments], str]] = {
    "another token": (
        0, lambda s: with_ids(s, 1, 2),
        r"^the span of tokens 0 to 3 in sample 1 of dump-0\.pkl, token 0 of document 0, has other",
    ),
    "a token in the padding": (0, lambda s: with_ids(s, 1, 3), "no span covers, from 3 on"),
    "a span that is too short": (0, lambda s: with_span(s, 1, 2, 2), "no span covers, from 2 on"),
    "spans with a gap": (1, lambda s: with_span(s, 1, 1, 3), "does not follow the one before it"),
    "another document": (1, lambda s: with_span(s, 1, 3, 0), "other tokens"),
    "a dropped document": (1, lambda s: with_span(s, 1, 3, 3), "goes beyond its document"),
    "no document": (1, lambda s: with_span(s, 1, 3, 5), "is of nothing"),
    "another place": (1, lambda s: with_span(s, 0, 4, 3), "another form"),
    "beyond its document": (1, lambda s: with_span(s, 1, 4, 1), "goes beyond its document"),
    "another form": (0, lambda s: with_span(s, 0, 5, Form.SPM), "has another form"),
    "a sample of no span": (0, lambda s: replace(s, ids=np.tile(s.ids, (2, 1))), "without a span"),
    "a row too few": (0, lambda s: replace(s, table=s.table[1:]), "lacks documents"),
    "a dropped document unnamed": (0, lambda s: replace(s, table=s.table[:3]), "no shard has"),
    "a row too many": (1, lambda s: replace(s, table=DOCUMENTS.table[2:]), "in its spans"),
    "another path": (
        1,
        lambda s: replace(s, table=s.table.set_column(6, "path", pa.array(["2.c", "5.c"]))),
        "says else of documents than the chunk",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_place(name: str) -> None:
    number, alter, said = WRONG[name]
    altered = shards()
    altered[number] = alter(altered[number])
    one = found(altered)
    assert re.search(said, one.wrong), one.wrong
    assert one.counts == DocumentCounts()


@pytest.mark.parametrize(
    ("piece", "form", "said"),
    [
        (0, Form.PSM, "the tokens of piece 0 of document 0 are not of form PSM"),
        (1, Form.SPM, "the tokens of piece 0 of document 2 are not of form SPM"),
        (1, Form.PLAIN, "the tokens of piece 0 of document 2 are not of form PLAIN"),
        (2, Form.SPM, "the tokens of piece 1 of document 2 are not of form SPM"),
    ],
)
def test_a_form_that_its_tokens_do_not_have_is_found_though_spans_say_it_too(
    piece: int, form: Form, said: str
) -> None:
    pieces, altered = DOCUMENTS.pieces.copy(), shards()
    pieces[piece, 2] = form
    span = (altered[0], 1) if piece == 0 else (altered[piece - 1], 0)
    span[0].spans[span[1], 5] = form
    one = found(altered, documents=replace(DOCUMENTS, pieces=pieces))
    assert (one.wrong, one.counts) == (said, DocumentCounts())


def test_tokens_that_lie_in_two_places_are_found() -> None:
    first, second = shards()
    again = replace(first, name="dump-2.pkl", table=DOCUMENTS.table.take([0, 2]))
    assert found([first, second, again]).wrong == "token 0 of document 0 lies in two places"
