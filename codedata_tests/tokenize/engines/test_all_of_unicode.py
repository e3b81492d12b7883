"""The ids of the library by the kernel for every code point, whatever stands beside it.

By twins whose vocabulary shows where pre-tokens end: wherever two characters meet, one of them or
both beyond ASCII, the bytes that meet have a merge, so they become one token if, and only if, the
characters are of one pre-token.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.base import Span, as_utf8
from codedata.tokenize.engines.pretokens import PretokensEngine
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.structure import BYTE_CHARACTERS
from codedata.tokenize.unicode_classes import NUM_CODE_POINTS, unicode_classes
from codedata_tests import scenario
from codedata_tests.tokenize.structures import SAMPLE, loaded_from

FAMILIES = {"deepseek": scenario.deepseek_like, "starcoder": scenario.starcoder_like}
NEIGHBOURS = "ab1 \t\n=.'s"
LEADING, CONTINUING = range(0xC2, 0xF5), range(0x80, 0xC0)
OF_EACH_CLASS = "é中«—¬€\u00a0\u3000² 'a"
"""Letter, punctuation, symbol and white space, each also of what deepseek-coder has for
ideographs; a numeral; and what the rules know of ASCII."""
ADDED = ["ü", "\u2003", "龥", "文ü", "<|ü|>"]

Twin = Callable[..., PretokensEngine]


def twin_of(family: str, without: bytes, added: Sequence[str]) -> Tokenizer:
    """A tokenizer with that vocabulary, but without tokens of some bytes."""
    tokens = {byte: BYTE_CHARACTERS[byte] for byte in range(256) if byte not in without}
    ascii_ = [tokens[ord(character)] for character in NEIGHBOURS]
    leading, continuing = ([tokens[b] for b in r if b in tokens] for r in (LEADING, CONTINUING))
    merges = [
        *itertools.product(continuing, ascii_),
        *itertools.product([last + each for last in continuing for each in ascii_], leading),
        *itertools.product(ascii_, leading),
        *itertools.product(continuing, leading),
    ]
    vocab = [*tokens.values(), *map("".join, merges)]
    model = models.BPE(vocab={token: place for place, token in enumerate(vocab)}, merges=merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = FAMILIES[family]()
    tokenizer.add_tokens([AddedToken(each, normalized=len(each) > 1) for each in added])
    return tokenizer


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """The kernel for such a tokenizer."""
    engines: dict[tuple[str, bytes, tuple[str, ...]], PretokensEngine] = {}

    def engine_of(
        family: str, *, without: bytes = b"", added: Sequence[str] = ()
    ) -> PretokensEngine:
        key = (family, without, tuple(added))
        if key not in engines:
            loaded = loaded_from(twin_of(*key), tmp_path_factory.mktemp(family))
            engine = choose_engine(loaded, "pretokens")
            assert isinstance(engine, PretokensEngine)
            engines[key] = engine
        return engines[key]

    return engine_of


def require_exact(engine: PretokensEngine, texts: Sequence[str]) -> None:
    encodings = engine._loaded.tokenizer.encode_batch_fast(texts)
    for text, encoding in zip(texts, encodings, strict=True):
        assert engine.encode(as_utf8(text)).ids.tolist() == encoding.ids, text


def everywhere(code_points: Sequence[int]) -> list[str]:
    """Each alone, after each kind of character and before them, and doubled; many a text."""
    lines = [
        f"\n{c}\n{c}{c}\na{c}b1{c}1 {c} a\t{c}\t={c}={c}.{c}'{c}s'¬{c}¬文{c}文{c}。{c}\n"
        for c in map(chr, code_points)
    ]
    return ["".join(lines[first : first + 100]) for first in range(0, len(lines), 100)]


def ends_of_runs() -> list[int]:
    """The first and the last code point of all runs of those that are of the same classes."""
    starts = np.flatnonzero(np.diff(unicode_classes(), prepend=255))
    return without_surrogates([*starts.tolist(), *(starts[1:] - 1).tolist(), NUM_CODE_POINTS - 1])


def without_surrogates(code_points: Sequence[int]) -> list[int]:
    return [each for each in code_points if not 0xD800 <= each < 0xE000]


TWO_PLANES = [*range(0x20000), *range(0x20000, NUM_CODE_POINTS, 61)]
"""Where nearly all characters are that are no ideographs, and of the others some."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "code_points",
    [
        pytest.param(range(0, NUM_CODE_POINTS, 997), id="some"),
        pytest.param(TWO_PLANES, marks=pytest.mark.campaign, id="most"),
        pytest.param(range(NUM_CODE_POINTS), marks=pytest.mark.long, id="all"),
    ],
)
def test_every_code_point_beside_others(
    code_points: Sequence[int], family: str, twin: Twin
) -> None:
    require_exact(twin(family), everywhere(ends_of_runs() + without_surrogates(code_points)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_four_of_one_character_a_class(family: str, twin: Twin) -> None:
    fours = ["".join(four) for four in itertools.product(OF_EACH_CLASS, repeat=4)]
    require_exact(twin(family), ["\n".join(fours[i : i + 512]) for i in range(0, len(fours), 512)])


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(st.one_of(st.text(max_size=9), st.sampled_from(ADDED))).map("".join))
def test_any_text_with_added_tokens(text: str, family: str, twin: Twin) -> None:
    require_exact(twin(family, added=ADDED), [text])


@pytest.mark.parametrize("family", FAMILIES)
def test_added_tokens_of_one_character_part_their_neighbours(family: str, twin: Twin) -> None:
    among = ["é", "文", " ", "'s", "1", "\n", *ADDED]
    threes = ["".join(three) for three in itertools.product(among, repeat=3)]
    require_exact(twin(family, added=ADDED), threes)


def test_what_the_vocabulary_has_no_byte_for_is_left_to_the_library(twin: Twin) -> None:
    lost = "Ж".encode()
    texts = ["é Жé文Ж1", "a \u0431 b", f" {bytes([0xC3, lost[1]]).decode()}é", SAMPLE]
    require_exact(twin("deepseek", without=lost), texts)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_beyond_ascii_stays_in_the_kernel(
    family: str, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(
        _engine: PretokensEngine, _text: Utf8, spans: Sequence[Span], *, begins: object
    ) -> list[IdArray]:
        assert not spans, ("the library is asked", begins)
        return []

    other = "é ü \u0645\u0631\u062d 한국어 e\u0301 👩\u200d👧 \x00\r\n\ue000\ufdd0\U0010ffff"
    monkeypatch.setattr(PretokensEngine, "by_library", refuse)
    require_exact(twin(family, added=ADDED), [SAMPLE + other])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_class_does_show(family: str, twin: Twin) -> None:
    """The control: a twin on whose ids the classes had no effect would prove nothing."""
    engine = twin(family)
    classes = engine._classes.code_points
    of_each = [ord(character) for character in OF_EACH_CLASS]
    for code_point in (each for each in of_each if each >= 128):
        text = as_utf8(everywhere([code_point])[0])
        right, ids = classes[code_point], engine.encode(text).ids.tolist()
        for wrong in {*classes[of_each].tolist()} - {int(right)}:
            classes[code_point] = wrong
            assert engine.encode(text).ids.tolist() != ids, (hex(code_point), wrong)
        classes[code_point] = right
