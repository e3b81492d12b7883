"""Each text of many has the ids that the library has for it alone, by every engine."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.format.texts import Texts
from codedata.tokenize.bare_ids import bare_ids
from codedata.tokenize.engines import alone, gigatoken
from codedata.tokenize.engines.alone import Span
from codedata.tokenize.engines.base import Engine, PieceEngine, as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.structure import Pretokenizer, find_pretokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.tokenize.engines.test_exactness import ENGINES, SMALL, engines_of
from codedata_tests.tokenize.hostile import BLANKS, PIECES, hostile_text
from codedata_tests.tokenize.twins import TRAPS, TWINS


class OneByOne(PieceEngine):
    """As one from outside codedata is written: it says nothing of many texts."""

    name = "one by one"
    piece_bytes = 100

    @classmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:  # noqa: ARG003
        return None

    def encode_pieces(
        self, text: Utf8, pieces: Sequence[Span], *, threads: int
    ) -> Iterable[IdArray]:
        assert threads
        assert not pieces or (pieces[0][0], pieces[-1][1]) == (0, len(text)), "more than one text"
        return [self.by_library(text, [piece])[0] for piece in pieces]


def all_engines(loaded: LoadedTokenizer) -> list[Engine]:
    found = find_pretokenizer(loaded.structure)
    outside = [] if isinstance(found, str) else [OneByOne(loaded, found)]
    return [*engines_of(loaded), *outside, WholeTextEngine(loaded)]


def require_alone(
    loaded: LoadedTokenizer, engines: Sequence[Engine], texts: Sequence[str], *, threads: int = 1
) -> None:
    expected = [loaded.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    together = Texts.of([as_utf8(text) for text in texts])
    for engine in engines:
        found = bare_ids(engine, together, threads=threads)
        assert len(found.ends) == len(texts)
        assert found.ids.dtype == (np.uint16 if loaded.vocab_size <= 1 << 16 else np.int32)
        for place, (text, ids) in enumerate(zip(texts, expected, strict=True)):
            assert found[place].tolist() == ids, (engine.name, text, texts)


def hostile_documents(random_: random.Random, tokens: Sequence[str]) -> list[str]:
    """What lies around borders of documents: nothing, blanks, tokens whole and cut in two."""
    short = [*BLANKS, *PIECES, "", "", " ", "\n", *tokens]
    texts: list[str] = []
    for _ in range(random_.choice((0, 1, 3, 12, 40))):
        kind = random_.randrange(5)
        if kind < 2:
            texts.append(random_.choice(short))
        elif kind == 2:
            text = hostile_text(random_, tokens)[:2_000]
            place = random_.randrange(len(text) + 1)
            texts += [text[:place], text[place:]]
        elif kind == 3 and tokens:
            token = random_.choice(tokens)
            place = random_.randrange(len(token) + 1)
            texts += [f"a {token[:place]}", f"{token[place:]} b"]
        else:
            texts += ["x\r", "\ny", "e", "\u0301a", " 12", "3 ", "don", "'t"]
    return texts


FEW = [
    *("deepseek-coder", "starcoder2", "qwen2", "roberta", "llama2", "mistral", "t5", "xlm-r"),
    *("bert", "unknown", "all flags", "white space stripped behind tokens that are words"),
]
"""One of each way to treat where a text begins, and of each engine."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "num_lists", "seed"),
    [
        *((name, 4, 1) for name in FEW),
        *(
            pytest.param(name, num_lists, seed, marks=mark)
            for name in (*TWINS, *TRAPS)
            for num_lists, seed, mark in (
                (15, 2, pytest.mark.campaign),
                (3_000, 3, pytest.mark.long),
            )
        ),
    ],
)
def test_documents_have_the_ids_that_the_library_has_for_each_alone(
    num_lists: int,
    seed: int,
    name: str,
    twin: Callable[[str], LoadedTokenizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, random_ = twin(name), random.Random(seed)
    engines = all_engines(loaded)
    added = loaded.tokenizer.get_added_tokens_decoder().values()
    tokens = sorted(token.content for token in added)
    for _ in range(num_lists):
        for engine in engines:
            size = random_.choice([1, 16, 300, 8000])
            monkeypatch.setattr(type(engine), "piece_bytes", size, raising=False)
        for module, constants in SMALL.items():
            for constant, values in constants:
                monkeypatch.setattr(f"{ENGINES}.{module}.{constant}", random_.choice(values))
        monkeypatch.setattr(gigatoken, "_GROUP_BYTES", random_.choice((1, 50, 1 << 20)))
        monkeypatch.setattr(alone, "_MOST_PIECES", random_.choice((1, 3, 1 << 14)))
        texts = hostile_documents(random_, tokens)
        require_alone(loaded, engines, texts, threads=random_.choice((1, 2)))


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.one_of(st.text(max_size=20), st.sampled_from(PIECES))))
def test_any_documents_have_the_ids_of_each_alone(
    texts: list[str], tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    for loaded in tokenizers_by_name.values():
        require_alone(loaded, [choose_engine(loaded)], texts)


@pytest.mark.parametrize("name", ["deepseek-coder", "gpt2", "llama2", "t5", "bert", "unknown"])
def test_a_document_is_the_same_in_any_company_and_order_and_with_any_threads(
    name: str, twin: Callable[[str], LoadedTokenizer]
) -> None:
    loaded, documents = twin(name), [*scenario.c_documents(40, seed=9), "", " x", "\n", "y "]
    engine = choose_engine(loaded)
    alone = [bare_ids(engine, Texts.of([as_utf8(each)]))[0].tolist() for each in documents]
    for threads in (1, 2, 8):
        order = random.Random(threads).sample(range(len(documents)), len(documents))
        texts = Texts.of([as_utf8(documents[place]) for place in order])
        found = bare_ids(engine, texts, threads=threads)
        assert [found[at].tolist() for at in range(len(order))] == [alone[place] for place in order]


def test_of_no_documents_there_are_no_ids(deepseek_like: LoadedTokenizer) -> None:
    for engine in all_engines(deepseek_like):
        for texts in ([], [as_utf8("")] * 3):
            found = bare_ids(engine, Texts.of(texts))
            assert (found.ids.tolist(), found.ends.tolist()) == ([], [0] * len(texts))
