"""Fill-in-the-middle: what is drawn, where pieces end, their forms by hand, and undoing them."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from codedata.format.documents import Form
from codedata.format.packing import IdArray
from codedata.recipe.documents import Fim, ResolvedRecipe
from codedata.tokenize import fim
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.fim_forms import PERMUTED, draws
from codedata.tokenize.token_bytes import token_bytes
from codedata.tokenize.undo_fim import PieceOfDocument, gives_back, undone
from codedata_tests import scenario
from codedata_tests.tokenize.fim_documents import (
    FimTokenizer,
    fim_tokenizer,
    hash_of,
)
from codedata_tests.tokenize.hostile import hostile_text
from codedata_tests.tokenize.twins import TWINS

LONG = "<|one token that takes many without it|>"
ALWAYS: dict[str, Any] = {"rate": 1.0}

EXACT = ("deepseek-coder", "codellama", "starcoder2", "llama3", "mistral", "gemma3")
"""Twins whose ids give back any text's bytes, but for `▁` and blanks beside some added tokens."""
CHANGING = ("qwen2", "metaspace always", "roberta", "t5", "xlm-r", "bert", "unknown")
"""Those whose ids give back a text that has the same ids, or else a document stays plain."""
OFTEN = ("deepseek-coder", "codellama", "qwen2")


def often(name: str) -> Any:
    """A name, for the campaign where it is not one of `OFTEN`."""
    return name if name in OFTEN else pytest.param(name, marks=pytest.mark.campaign)


HARD = [
    *("x", "é", "🙂", " ", "\r\n", "\u0301", "▁", " \t lead", "int main(void)\r\n{\r\n}\r\n"),
    *("计算一下" * 20, "🙂" * 30, "ü" * 40 + "õ÷Á" * 10, "e\u0301" * 40, "▁ ▁▁  x" * 8),
    *("<s>a</s> b<unk>  c " * 3, "ab<mask> \t" * 9, "x" * 100, "\n" * 50),
    *scenario.c_documents(3, seed=5),
]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> FimTokenizer:
    """A token a byte, and one of `LONG`."""
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like(), vocab_size=256)
    tokenizer.add_tokens([AddedToken(LONG)])
    return fim_tokenizer(json.loads(tokenizer.to_str()), tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="module")
def of_twin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FimTokenizer]:
    """The twins' by their names, made when they are first asked for."""

    class Made(dict[str, FimTokenizer]):
        def __repr__(self) -> str:
            return "twins"

        def __missing__(self, name: str) -> FimTokenizer:
            self[name] = fim_tokenizer(TWINS[name](), tmp_path_factory.mktemp("twin"))
            return self[name]

    return Made()


def shown(tokenizer: FimTokenizer, pieces: Sequence[PieceOfDocument]) -> list[str]:
    """Pieces as their tokens, one space between each two."""
    named = tokenizer.loaded.tokenizer.id_to_token
    return [" ".join(str(named(id_)) for id_ in ids.tolist()) for ids, _ in pieces]


def check_pieces(
    recipe: ResolvedRecipe, pieces: Sequence[PieceOfDocument], seq_length: int
) -> None:
    """What holds for the pieces of any document."""
    assert recipe.fim is not None
    sentinels = [recipe.fim.prefix, recipe.fim.suffix, recipe.fim.middle]
    for ids, form in pieces:
        assert len(ids) <= seq_length
        own = ids[np.isin(ids, sentinels)].tolist()
        assert own == (sentinels if form in PERMUTED else [])
    frame = [id_ for id_ in (recipe.bos, recipe.eos) if id_ is not None]
    flat = np.concatenate([ids for ids, _ in pieces]).tolist()
    assert [id_ for id_ in flat if id_ in frame] == frame
    assert flat[-1] == recipe.eos
    assert recipe.bos is None or flat[0] == recipe.bos


# What is drawn


def test_draws_are_the_sha256_of_seed_document_and_piece() -> None:
    document = "506741a54ad952738f067b093cd3fa120026d0e34b1ad76c04e6b8f7d791edf5"
    assert document == hash_of("int main(void);")
    assert draws(7, document, 0) == (
        *(0xA116C8CED29E0197, 0x0A59F72DBDFEFB2E, 0x43B95078B2589CD5, 0x82C0F0611EC7E542),
    )
    assert draws(7, document, 1)[0] == 0xC7D8E6E9D557D9F6
    assert draws(8, document, 0) != draws(7, document, 0) != draws(7, hash_of(""), 0)


def test_rates_are_kept_and_cuts_are_as_likely_everywhere() -> None:
    number, chars = 12_000, 9
    drawn = [draws(1, hash_of(str(document)), 3) for document in range(number)]
    forms = Counter(each.form(Fim(rate=0.3, spm_rate=0.25)) for each in drawn)
    assert forms[Form.SPM] / number == pytest.approx(0.3 * 0.25, abs=0.01)
    assert forms[Form.PSM] / number == pytest.approx(0.3 * 0.75, abs=0.015)
    assert not any(each.form(Fim(rate=0.0)) for each in drawn)
    assert {each.form(Fim(rate=1.0, spm_rate=1.0)) for each in drawn} == {Form.SPM}
    assert {each.form(Fim(rate=1.0, spm_rate=0.0)) for each in drawn} == {Form.PSM}
    cuts = [each.cuts(chars) for each in drawn]
    assert all(0 <= middle <= suffix <= chars for middle, suffix in cuts)
    counts = Counter(place for both in cuts for place in both)
    expected = 2 * number / (chars + 1)
    assert len(counts) == chars + 1
    assert all(count == pytest.approx(expected, rel=0.08) for count in counts.values())
    middles = Counter(cuts)[2, 5] / number
    assert middles == pytest.approx(2 / (chars + 1) ** 2, rel=0.25), "each is drawn on its own"


# Forms and borders, by hand


@pytest.mark.parametrize(
    ("spm_rate", "form", "expected"),
    [
        (0.0, Form.PSM, "<|bos|> <fim_prefix> <fim_suffix> d e f <fim_middle> a b c <|eos|>"),
        (1.0, Form.SPM, "<|bos|> <fim_prefix> <fim_suffix> d e f <fim_middle> a b c <|eos|>"),
    ],
)
def test_a_prefix_of_no_characters(
    spm_rate: float, form: Form, expected: str, single: FimTokenizer
) -> None:
    recipe = single.recipe(**ALWAYS, spm_rate=spm_rate, seed=1)
    assert draws(1, hash_of("abcdef"), 0).cuts(6) == (0, 3)
    [pieces] = single.pieces(recipe, ["abcdef"], 32)
    assert shown(single, pieces) == [expected]
    assert [piece_form for _, piece_form in pieces] == [form]


@pytest.mark.parametrize(
    ("spm_rate", "form", "expected"),
    [
        (0.0, Form.PSM, "<fim_prefix> a b c <fim_suffix> e f <fim_middle> d <|eos|>"),
        (1.0, Form.SPM, "<fim_prefix> <fim_suffix> e f <fim_middle> a b c d <|eos|>"),
    ],
)
def test_the_suffix_stands_behind_the_prefix_or_before_it(
    spm_rate: float, form: Form, expected: str, single: FimTokenizer
) -> None:
    recipe = single.recipe(bos=False, **ALWAYS, spm_rate=spm_rate, seed=2)
    assert draws(2, hash_of("abcdef"), 0).cuts(6) == (3, 4)
    [pieces] = single.pieces(recipe, ["abcdef"], 32)
    assert shown(single, pieces) == [expected]
    assert [piece_form for _, piece_form in pieces] == [form]


def test_cuts_count_characters_and_none_is_cut(single: FimTokenizer) -> None:
    text = "aé🙂ü\r\n"
    assert draws(3, hash_of(text), 0).cuts(6) == (2, 3)
    [[(ids, _)]] = single.pieces(single.recipe(**ALWAYS, spm_rate=0.0, seed=3), [text], 64)
    table = token_bytes(single.loaded).table
    assert table is not None
    spelt = b" ".join(table[id_] for id_ in ids.tolist()).decode("latin-1")
    parts = [part.replace(" ", "").encode("latin-1").decode() for part in spelt.split("<fim_")]
    assert parts == ["<|bos|>", "prefix>aé", "suffix>ü\r\n", "middle>🙂<|eos|>"]


def test_pieces_are_as_long_as_samples_and_those_that_are_drawn_by_eight_tokens_less(
    single: FimTokenizer,
) -> None:
    text = "abcdefghijklmnopqrstuvwxyz0123"
    [plain] = single.pieces(single.recipe(rate=0.0), [text], 16)
    assert shown(single, plain) == [
        "<|bos|> " + " ".join(text[:15]),
        " ".join(text[15:]) + " <|eos|>",
    ]
    recipe = single.recipe(**ALWAYS)
    [drawn] = single.pieces(recipe, [text], 16)
    assert [len(ids) for ids, _ in drawn] == [8 + 3] * 4
    first = [*drawn[:2], (drawn[-1][0][-1:], Form.PLAIN)]
    assert undone(single.loaded, recipe, first) == text[:15].encode()
    assert undone(single.loaded, recipe, drawn) == text.encode()


def test_a_piece_ends_before_the_character_that_does_not_fit(single: FimTokenizer) -> None:
    [pieces] = single.pieces(single.recipe(**ALWAYS), ["🙂" * 5], 16)
    assert [len(ids) for ids, _ in pieces] == [1 + 4 + 3, 8 + 3, 8 + 3, 1]
    assert [form in PERMUTED for _, form in pieces] == [True, True, True, False]
    assert pieces[-1][1] == Form.LEFT_PLAIN
    assert shown(single, pieces[-1:]) == ["<|eos|>"], "framing counts, and has no text to permute"
    [pieces] = single.pieces(single.recipe(rate=0.0), ["🙂" * 5], 16)
    assert [len(ids) for ids, _ in pieces] == [1 + 12, 8 + 1]


@pytest.mark.parametrize("num_chars", [1, 6, 7, 8, 9, 14, 15])
def test_no_document_that_fits_is_cut(num_chars: int, single: FimTokenizer) -> None:
    texts = [f"{number:x<{num_chars}}"[:num_chars] for number in range(100)]
    for pieces in single.pieces(single.recipe(bos=False), texts, 16):
        forms = [form for _, form in pieces]
        fits = num_chars + 1 <= (16 if forms[0] == Form.PLAIN else 16 - 8)
        assert (len(pieces) == 1) == fits


def test_what_is_longer_than_a_sample_once_it_is_permuted_stays_plain(
    single: FimTokenizer,
) -> None:
    recipe = single.recipe(**ALWAYS)
    text = f"ab{LONG}cd"
    [pieces] = single.pieces(recipe, [text], 16)
    assert shown(single, pieces) == [f"<|bos|> a b {LONG} c d <|eos|>"]
    assert [form for _, form in pieces] == [Form.TOO_LONG]
    assert undone(single.loaded, recipe, pieces) == text.encode()
    [[(ids, form)]] = single.pieces(recipe, [text], 64)
    assert form in PERMUTED
    assert len(ids) > 16


def test_of_whole_documents_those_that_fit_are_permuted(single: FimTokenizer) -> None:
    recipe = single.recipe(**ALWAYS, level="document")
    texts = ["x" * number for number in (11, 12, 14, 15, 40)]
    pieces = single.pieces(recipe, texts, 16)
    assert [len(each) for each in pieces] == [1] * len(texts), "packing cuts those that are longer"
    assert [form in PERMUTED for [(_, form)] in pieces] == [True, False, False, False, False]
    assert {form for [(_, form)] in pieces[1:]} == {Form.TOO_LONG}
    assert [len(ids) for [(ids, _)] in pieces] == [16, 14, 16, 17, 42]
    plain = single.pieces(single.recipe(rate=0.0, level="document"), texts, 16)
    assert [form for [(_, form)] in plain] == [Form.PLAIN] * len(texts)


def test_samples_shorter_than_a_character_cut_it_and_nothing_is_lost(single: FimTokenizer) -> None:
    text = "a🙂🙂é" * 3
    for seq_length in range(1, 13):
        recipe = single.recipe(rate=0.7)
        [pieces] = single.pieces(recipe, [text], seq_length)
        check_pieces(recipe, pieces, seq_length)
        assert undone(single.loaded, recipe, pieces) == text.encode()


def test_a_part_that_is_a_control_token_alone_leaves_its_piece_plain(tmp_path: Path) -> None:
    structure = json.loads(scenario.train_tokenizer(scenario.gpt2_like()).to_str())
    words = fim_tokenizer(structure, tmp_path, single_word=True)
    text = "x<fim_suffix>y"
    alone = next(s for s in range(9_999) if draws(s, hash_of(text), 0).cuts(14) == (1, 13))
    for control_tokens, form in {"drop": Form.LEFT_PLAIN, "text": Form.PSM}.items():
        recipe = words.recipe(**ALWAYS, spm_rate=0.0, seed=alone, control_tokens=control_tokens)
        [pieces] = words.pieces(recipe, [text], 64)
        assert [each for _, each in pieces] == [form]
        check_pieces(recipe, pieces, 64)
        assert undone(words.loaded, recipe, pieces) == text.encode()


# A document's pieces are its own


def test_pieces_depend_on_nothing_but_the_document(
    of_twin: dict[str, FimTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = of_twin["starcoder2"]
    recipe = tokenizer.recipe()
    texts = [*HARD, *scenario.c_documents(4, seed=2)]
    together = tokenizer.pieces(recipe, texts, 64)
    assert {form for pieces in together for _, form in pieces} >= {Form.PLAIN, *PERMUTED}

    def is_same(others: Sequence[Sequence[PieceOfDocument]], order: Sequence[int]) -> bool:
        as_lists = [[(ids.tolist(), form) for ids, form in pieces] for pieces in others]
        return as_lists == [
            [(ids.tolist(), form) for ids, form in together[place]] for place in order
        ]

    order = random.Random(0).sample(range(len(texts)), len(texts))
    assert is_same(tokenizer.pieces(recipe, [texts[place] for place in order], 64), order)
    for place in order[:6]:
        assert is_same(tokenizer.pieces(recipe, [texts[place]], 64), [place])
    assert is_same(tokenizer.pieces(recipe, texts, 64, threads=2), range(len(texts)))
    library = WholeTextEngine(tokenizer.loaded)
    assert is_same(tokenizer.pieces(recipe, texts, 64, engine=library), range(len(texts)))
    [twice, again] = tokenizer.pieces(recipe, [texts[-1]] * 2, 64)
    assert [ids.tolist() for ids, _ in twice] == [ids.tolist() for ids, _ in again]
    for limit, most in {"_GROUP_BYTES": 100, "_GROUP_DOCUMENTS": 3}.items():
        monkeypatch.setattr(fim, limit, most)
        assert is_same(tokenizer.pieces(recipe, texts, 64), range(len(texts)))


def test_few_documents_are_gone_through_together(
    single: FimTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fim, "_GROUP_BYTES", 10)
    monkeypatch.setattr(fim, "_GROUP_DOCUMENTS", 3)
    groups: list[int] = []
    of_group = fim._pieces_of

    def counted(job: Any, documents: Sequence[Any], *more: Any) -> Any:
        groups.append(len(documents))
        return of_group(job, documents, *more)

    monkeypatch.setattr(fim, "_pieces_of", counted)
    single.pieces(single.recipe(), ["abcdefghijkl", *"abcd", "abcde", "ab", "cde", "x"], 64)
    assert groups == [1, 3, 3, 2], "of ten bytes and three documents at most, or one alone"


# Undoing


CHARACTERS = "ab(;0 \t\n\r\u00a0éüõ÷ÁÀ\u0301中한я🙂\U000103a0▁\ufeff\0"
TEXTS = st.lists(
    st.one_of(
        st.text(CHARACTERS, min_size=1, max_size=40),
        st.sampled_from(["\r\n", "    ", "int ", "return", "<fim_", "<s>", "e\u0301", "\t\t"]),
    ),
    min_size=1,
    max_size=12,
).map("".join)
RECIPES = st.fixed_dictionaries(
    {
        "rate": st.sampled_from([0.0, 0.5, 1.0]),
        "spm_rate": st.sampled_from([0.0, 0.5, 1.0]),
        "level": st.sampled_from(["context", "document"]),
        "seed": st.integers(0, 9),
    }
)


@pytest.mark.parametrize("name", [*OFTEN, often("mistral")])
@settings(max_examples=20, deadline=None)
@given(text=TEXTS, fim=RECIPES, bos=st.booleans(), seq_length=st.sampled_from([16, 24, 64, 512]))
def test_undoing_gives_the_document_back(
    name: str,
    text: str,
    fim: dict[str, Any],
    bos: bool,
    seq_length: int,
    of_twin: dict[str, FimTokenizer],
) -> None:
    tokenizer = of_twin[name]
    recipe = tokenizer.recipe(bos=bos, **fim)
    [pieces] = tokenizer.pieces(recipe, [text], seq_length)
    if fim["level"] == "context":
        check_pieces(recipe, pieces, seq_length)
    made = undone(tokenizer.loaded, recipe, pieces)
    if name == "deepseek-coder":
        assert made == text.encode()
        for place, (ids, form) in enumerate(pieces):
            framed = [[] if place == 0 or not bos else [recipe.bos], ids]
            framed.append([] if place == len(pieces) - 1 else [recipe.eos])
            alone = [(np.concatenate(framed).astype(ids.dtype), form)]
            assert undone(tokenizer.loaded, recipe, alone).decode() in text, "whole characters"
    elif name in EXACT and not {"▁", "<"} & {*text} and text[0] != " ":
        assert made == text.encode()
    assert gives_back(
        tokenizer.loaded, tokenizer.engine, recipe, pieces, hash_of(text), lambda: as_utf8(text)
    )


@pytest.mark.parametrize("name", [often(name) for name in (*EXACT, *CHANGING)])
def test_documents_of_every_family_come_back(name: str, of_twin: dict[str, FimTokenizer]) -> None:
    tokenizer = of_twin[name]
    assert (token_bytes(tokenizer.loaded).table is None) == (name in CHANGING[-4:])
    random_ = random.Random(4)
    texts = [*HARD, *(hostile_text(random_)[:400] for _ in range(8))]
    texts = [text for text in texts if len(tokenizer.bare(tokenizer.recipe(), [text]).ids)]
    for seq_length in (32, 200):
        recipe = tokenizer.recipe(rate=0.8)
        every = tokenizer.pieces(recipe, texts, seq_length)
        forms = Counter(form for pieces in every for _, form in pieces)
        assert forms[Form.PSM] > 0 < forms[Form.SPM]
        assert forms[Form.LEFT_PLAIN] > 0 or name not in CHANGING[2:]
        for text, pieces in zip(texts, every, strict=True):
            check_pieces(recipe, pieces, seq_length)
            for number, (_, form) in enumerate(pieces):
                drawn = draws(0, hash_of(text), number).form(Fim(rate=0.8))
                assert (form == Form.PLAIN) == (drawn == Form.PLAIN), "what is drawn is counted"
            assert gives_back(
                tokenizer.loaded,
                tokenizer.engine,
                recipe,
                pieces,
                hash_of(text),
                lambda text=text: as_utf8(text),
            ), text
            if name in EXACT and not {"▁", "<"} & {*text} and text[0] != " ":
                assert undone(tokenizer.loaded, recipe, pieces) == text.encode()


def test_what_is_not_the_document_is_found(of_twin: dict[str, FimTokenizer]) -> None:
    [text] = scenario.c_documents(1, seed=9)
    for name in ("deepseek-coder", "codellama", "qwen2"):
        tokenizer = of_twin[name]
        recipe = tokenizer.recipe(rate=0.8)
        [pieces] = tokenizer.pieces(recipe, [text], 64)

        def is_found(changed: Sequence[PieceOfDocument], of: FimTokenizer = tokenizer) -> bool:
            return not gives_back(
                of.loaded,
                of.engine,
                of.recipe(rate=0.8),
                changed,
                hash_of(text),
                lambda: as_utf8(text),
            )

        assert not is_found(pieces)
        of_each_form = {form: place for place, (_, form) in enumerate(pieces)}
        assert {*PERMUTED, Form.PLAIN} <= {*of_each_form}
        for form, place in of_each_form.items():
            ids = pieces[place][0]
            for other in {*PERMUTED, Form.PLAIN} - {form if form in PERMUTED else Form.PLAIN}:
                changed = [*pieces[:place], (ids, other), *pieces[place + 1 :]]
                assert is_found(changed), "whatever bytes they give"
        assert is_found(pieces[:-1])
        assert is_found([pieces[1], pieces[0], *pieces[2:]])
        place = next(
            p for p, (ids, form) in enumerate(pieces) if form == Form.PSM and len(ids) > 20
        )
        ids, form = pieces[place]
        for changed in (ids[:-5], np.where(np.arange(len(ids)) == 10, ids[0], ids), ids[::-1]):
            assert is_found([*pieces[:place], (changed, form), *pieces[place + 1 :]])
        assert is_found([*pieces[:place], (ids, Form.PLAIN), *pieces[place + 1 :]])
        wide = ids.astype(np.int32)
        wide[4] = tokenizer.loaded.vocab_size
        assert is_found([*pieces[:place], (wide, form), *pieces[place + 1 :]])


def test_ids_that_spell_no_text_are_compared_as_they_are_and_left_plain(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like(), vocab_size=256)
    tokenizer.add_tokens([AddedToken("é")])
    byte = fim_tokenizer(json.loads(tokenizer.to_str()), tmp_path)
    recipe, text = byte.recipe(**ALWAYS), "a é b"
    [[(ids, form)]] = byte.pieces(recipe, [text], 16)
    assert form == Form.LEFT_PLAIN
    assert b"\xe9" in undone(byte.loaded, recipe, [(ids, form)]), "the vocabulary's, for a byte"

    def is_given_back(ids: IdArray) -> bool:
        pieces = [(ids, form)]
        own = lambda: as_utf8(text)  # noqa: E731 - asked for where bytes differ
        return gives_back(byte.loaded, byte.engine, recipe, pieces, hash_of(text), own)

    assert is_given_back(ids)
    assert not is_given_back(ids[[0, 2, 1, *range(3, len(ids))]])
