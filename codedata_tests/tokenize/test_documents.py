"""The documents of a chunk: framed, dropped or kept as text, compared, found again as stored."""

import dataclasses
import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from codedata.errors import ExactnessError
from codedata.format.documents import ChunkDocuments
from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.format.texts import Texts
from codedata.recipe.documents import DocumentRecipe, ResolvedRecipe
from codedata.sources.documents import ChosenDocuments
from codedata.tokenize.bare_ids import TextIds, bare_ids
from codedata.tokenize.documents import holds_documents_of, tokenize_documents
from codedata.tokenize.engines.base import Engine, as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.fidelity import COMPARED_BYTES, COMPARED_PIECES, compare_texts
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.structure import AFTER_NEWLINES
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.scenario import BOS, EOT, PAD

DOCUMENTS = ["int i;\n", "", f"a {EOT} b", " x", *scenario.c_documents(12, seed=4), f"{BOS}", "y"]


def resolved(loaded: LoadedTokenizer, **fields: Any) -> ResolvedRecipe:
    framing = {"eos": EOT} | fields.pop("documents", {})
    return with_ids(DocumentRecipe.of({"documents": framing} | fields), loaded)


def chosen(documents: Sequence[str], *, first_row: int = 7) -> ChosenDocuments:
    """Every second row of a file has one; of the first the path is known."""
    places = range(len(documents))
    return ChosenDocuments(
        file=3,
        texts=[as_utf8(each) for each in documents],
        rows=np.array([first_row + 2 * place for place in places], np.int64),
        num_chars=np.array([*map(len, documents)], np.int64),
        origins={
            "repository": [None] * len(documents),
            "path": ["a.c" if place == 0 else None for place in places],
            "licences": [["MIT"] if place == 0 else None for place in places],
        },
    )


def tokenized(
    loaded: LoadedTokenizer,
    documents: Sequence[str],
    recipe: ResolvedRecipe,
    *,
    engine: Engine | None = None,
    seq_length: int = 64,
) -> tuple[ChunkDocuments, dict[str, Any]]:
    return tokenize_documents(
        loaded,
        engine or choose_engine(loaded),
        recipe,
        chosen(documents),
        seq_length=seq_length,
        threads=1,
        where="characters 0 to 9 of c.parquet",
    )


def pieces_of(made: ChunkDocuments) -> list[tuple[int, list[int]]]:
    """The document and the ids of each piece."""
    ends = np.cumsum(made.pieces[:, 1])
    ids = [each.tolist() for each in np.split(made.ids, ends)]
    assert ids.pop() == []
    return [*zip(made.pieces[:, 0].tolist(), ids, strict=True)]


@pytest.mark.parametrize("bos", [None, BOS])
def test_each_document_stands_between_its_tokens_and_those_with_one_of_them_are_left_out(
    bos: str | None, deepseek_like: LoadedTokenizer
) -> None:
    recipe = resolved(deepseek_like, documents={"bos": bos})
    made, record = tokenized(deepseek_like, DOCUMENTS, recipe)
    encode = deepseek_like.tokenizer.encode
    drops = (EOT,) if bos is None else (BOS, EOT)
    before = [] if recipe.bos is None else [recipe.bos]
    assert pieces_of(made) == [
        (number, [*before, *encode(text, add_special_tokens=False).ids, recipe.eos])
        for number, text in enumerate(DOCUMENTS)
        if text and not any(token in text for token in drops)
    ]
    assert made.ids.dtype == np.uint16
    table = made.table.to_pydict()
    assert made.table.schema == DOCUMENT_SCHEMA
    assert table["document"] == [*range(len(DOCUMENTS))]
    assert table["row"] == [7 + 2 * number for number in range(len(DOCUMENTS))]
    assert {*table["file"]} == {3}
    assert table["characters"] == [*map(len, DOCUMENTS)]
    assert table["sha256"] == [hashlib.sha256(each.encode()).hexdigest() for each in DOCUMENTS]
    assert table["decision"] == [
        "empty"
        if not text
        else "control tokens"
        if any(token in text for token in drops)
        else "kept"
        for text in DOCUMENTS
    ]
    assert table["path"][:2] == ["a.c", None]
    assert record["engine"] == "pretokens"
    assert 0 < record["compared_bytes"] <= COMPARED_PIECES * COMPARED_BYTES


def test_a_document_with_a_control_token_is_kept_as_text_where_the_recipe_says_so(
    deepseek_like: LoadedTokenizer,
) -> None:
    dropped, _ = tokenized(deepseek_like, DOCUMENTS, resolved(deepseek_like))
    recipe = resolved(deepseek_like, documents={"control_tokens": "text"})
    made, _ = tokenized(deepseek_like, DOCUMENTS, recipe)
    assert made.table.column("decision").to_pylist() == [
        "kept" if text else "empty" for text in DOCUMENTS
    ]
    pieces = dict(pieces_of(made))
    assert {number: ids for number, ids in pieces.items() if number != 2} == dict(
        pieces_of(dropped)
    )
    assert pieces[2].count(recipe.eos) == 1
    assert deepseek_like.tokenizer.decode(pieces[2], skip_special_tokens=False) == (
        DOCUMENTS[2] + EOT
    )


@pytest.mark.parametrize(
    "fim",
    [
        pytest.param(None, marks=pytest.mark.campaign),
        {"rate": 0.7, "tokens": ["<|pad|>", "ü", "õ"]},
    ],
)
def test_what_becomes_of_a_document_depends_on_nothing_beside_it(
    fim: dict[str, Any] | None, deepseek_like: LoadedTokenizer
) -> None:
    recipe = resolved(deepseek_like, fim=fim)
    together, _ = tokenized(deepseek_like, DOCUMENTS, recipe)
    found = pieces_of(together)
    order = random.Random(1).sample(range(len(DOCUMENTS)), len(DOCUMENTS))
    mixed, _ = tokenized(deepseek_like, [DOCUMENTS[place] for place in order], recipe)
    for number, text in enumerate(DOCUMENTS):
        alone, _ = tokenized(deepseek_like, [text], recipe)
        ids = [ids for _, ids in pieces_of(alone)]
        assert ids == [ids for at, ids in found if at == number]
        assert ids == [ids for at, ids in pieces_of(mixed) if order[at] == number]


def test_a_chunk_of_no_documents_and_one_of_which_none_is_kept_have_no_pieces(
    deepseek_like: LoadedTokenizer,
) -> None:
    for fim in (None, {"tokens": ["<|pad|>", "ü", "õ"]}):
        for documents in ([], ["", EOT]):
            made, record = tokenized(deepseek_like, documents, resolved(deepseek_like, fim=fim))
            assert (made.ids.tolist(), made.pieces.shape) == ([], (0, 3))
            assert len(made.table) == len(documents)
            assert record["engine"] == "pretokens"


class WrongOnce(WholeTextEngine):
    """Wrong in one id of all."""

    def __init__(self, loaded: LoadedTokenizer, place: int) -> None:
        super().__init__(loaded)
        self.cut, self.place = AFTER_NEWLINES, place

    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        ids, upto = super().encode_each(text, ends, threads=threads)
        ids[self.place] ^= 1
        return ids, upto


def test_a_wrong_id_of_a_document_is_found_and_named(deepseek_like: LoadedTokenizer) -> None:
    """Of short documents each is compared."""
    texts, recipe = ["int i;", "float x;\n\nlong y;"], resolved(deepseek_like)
    ids = [deepseek_like.tokenizer.encode(text, add_special_tokens=False) for text in texts]
    places = [(number, place) for number in (0, 1) for place in range(len(ids[number].ids))]
    for wrong, (number, place) in enumerate(places):
        with pytest.raises(ExactnessError) as caught:
            tokenized(deepseek_like, texts, recipe, engine=WrongOnce(deepseek_like, wrong))
        message = str(caught.value)
        start, stop = ids[number].offsets[place]
        assert repr(texts[number][start:stop])[1:-1] in message
        assert f"(characters 0 to 9 of c.parquet, row {7 + 2 * number}, from character 0" in message


def test_a_missing_or_an_additional_id_at_a_document_s_end_is_found(
    deepseek_like: LoadedTokenizer,
) -> None:
    engine, texts = choose_engine(deepseek_like), Texts.of([as_utf8("int i;\n")])
    ids = bare_ids(engine, texts).ids
    for wrong in (ids[:-1], np.append(ids, ids[-1])):
        found = TextIds(ids=wrong, ends=np.array([len(wrong)]))
        with pytest.raises(ExactnessError):
            compare_texts(deepseek_like, engine, texts, found, seed=1, name=str)


def test_the_middle_of_a_long_document_is_compared_too(deepseek_like: LoadedTokenizer) -> None:
    text = "\n".join(scenario.c_documents(8, seed=3))
    engine, texts = choose_engine(deepseek_like), Texts.of([as_utf8(text)])
    found = bare_ids(engine, texts)
    compared = [
        compare_texts(deepseek_like, engine, texts, found, seed=seed, name=str) for seed in range(5)
    ]
    assert all(COMPARED_BYTES // 2 <= each <= COMPARED_BYTES for each in compared)
    wrong = dataclasses.replace(found, ids=found.ids.copy())
    wrong.ids[COMPARED_BYTES:] ^= 1
    messages: set[str] = set()
    for seed in range(5):
        try:
            compare_texts(deepseek_like, engine, texts, wrong, seed=seed, name=str)
        except ExactnessError as error:
            messages.add(str(error))
    assert len(messages) > 3, "each another place"


def test_documents_without_a_place_to_cut_are_left_to_the_library(
    deepseek_like: LoadedTokenizer,
) -> None:
    """None of a wrong engine's ids stays, though nothing of them could be compared."""
    text, recipe = "中" * 3_000, resolved(deepseek_like)
    made, record = tokenized(deepseek_like, [text], recipe, engine=WrongOnce(deepseek_like, 7))
    assert record == {"engine": "whole", "compared_bytes": 0}
    ids = deepseek_like.tokenizer.encode(text, add_special_tokens=False).ids
    assert pieces_of(made) == [(0, [*ids, recipe.eos])]


@pytest.mark.parametrize("fim", [None, {"rate": 0.7, "tokens": ["<|pad|>", "ü", "õ"]}])
@pytest.mark.parametrize("by_library", [True, False])
def test_stored_documents_are_those_of_their_text_or_are_not(
    fim: dict[str, Any] | None,
    deepseek_like: LoadedTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    *,
    by_library: bool,
) -> None:
    if not by_library:
        monkeypatch.setattr("codedata.tokenize.documents._BY_LIBRARY_BYTES", 0)
    recipe, engine = resolved(deepseek_like, fim=fim), choose_engine(deepseek_like)
    stored, _ = tokenized(deepseek_like, DOCUMENTS, recipe)

    def holds(found: ChunkDocuments, *places: int, **others: Any) -> bool:
        some = dataclasses.replace(chosen(DOCUMENTS).some(np.array(places)), **others)
        return holds_documents_of(deepseek_like, engine, recipe, some, found, seq_length=64)

    last = len(DOCUMENTS) - 1
    assert all(holds(stored, *places) for places in ([0], [1], [2, 3], [4, 9], range(last + 1)))
    assert not holds(stored, 4, texts=[as_utf8(DOCUMENTS[4] + " ")])
    assert not holds(stored, 4, rows=np.array([8])), "a row that is not there"
    assert not holds(stored, 4, num_chars=np.array([1]))
    wrong_id = dataclasses.replace(stored, ids=stored.ids.copy())
    wrong_id.ids[-2] ^= 1
    assert not holds(wrong_id, last)
    assert holds(wrong_id, 4)
    wrong_piece = dataclasses.replace(stored, pieces=stored.pieces.copy())
    wrong_piece.pieces[-1, 2] += 1
    assert not holds(wrong_piece, last)
    wrong_hash = tokenized(deepseek_like, [*DOCUMENTS[:last], "z"], recipe)[0].table
    assert not holds(dataclasses.replace(stored, table=wrong_hash), last)


def test_pad_is_a_token_like_any_other(deepseek_like: LoadedTokenizer) -> None:
    """It is no control token: samples are padded, but spans say where."""
    made, _ = tokenized(deepseek_like, [f"a {PAD} b"], resolved(deepseek_like))
    assert made.table.column("decision").to_pylist() == ["kept"]
