"""The library's own classes of code points: noted once, and doubted where they overlap."""

from pathlib import Path

import numpy as np
import pytest
import tokenizers

from codedata.store.notes import read_note, write_note
from codedata.tokenize import unicode_classes as module
from codedata.tokenize.engines.pretokens import PretokensEngine
from codedata.tokenize.structure import Pretokenizer, find_pretokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.unicode_classes import UnicodeClass, unicode_classes

LETTER, SPACE, NUMBER = UnicodeClass.LETTER, UnicodeClass.WHITE_SPACE, UnicodeClass.NUMBER
KNOWN = {
    "a": LETTER, "é": LETTER, "中": LETTER | UnicodeClass.CJK, "\u3000": SPACE | UnicodeClass.CJK,
    "\x85": SPACE, "!": UnicodeClass.PUNCTUATION, "7": NUMBER | UnicodeClass.NUMERIC, "+": 0,
    "\u0301": 0, "\U0010ffff": 0, "\U00011de0": UnicodeClass.NUMERIC,  # of Unicode 16
}  # fmt: skip


def test_the_library_is_asked_once_for_each_of_its_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = unicode_classes.__wrapped__()
    assert {character: found[ord(character)] for character in KNOWN} == KNOWN
    note = read_note(module._NOTES, tokenizers.__version__)
    assert len(note["starts"]) == len(note["classes"]) > 1_000
    np.testing.assert_array_equal(unicode_classes.__wrapped__(), found)
    write_note(module._NOTES, tokenizers.__version__, {"starts": [0, 5], "classes": [0, 1]})
    assert unicode_classes.__wrapped__().sum() == module.NUM_CODE_POINTS - 5, "read, not asked"


@pytest.mark.parametrize(
    ("character", "classes"), [("\u01bb", LETTER | UnicodeClass.NUMERIC), ("\u0e50", NUMBER)]
)
def test_a_release_that_takes_a_character_for_two_things_at_once_gets_another_engine(
    character: str,
    classes: int,
    deepseek_like: LoadedTokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretokenizer = find_pretokenizer(deepseek_like.structure)
    assert isinstance(pretokenizer, Pretokenizer)
    assert PretokensEngine.why_not(deepseek_like.structure, pretokenizer) is None
    changed = unicode_classes().copy()
    changed[ord(character)] = classes
    monkeypatch.setattr(module, "unicode_classes", lambda: changed)
    why = PretokensEngine.why_not(deepseek_like.structure, pretokenizer)
    assert why == f"this tokenizers library takes U+{ord(character):04X} for two things at once"
