"""Tokenizers that nobody should have made: each ends in one line, or works as the library does."""

import base64
import copy
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from codedata.errors import TokenizerError
from codedata.tokenize.engines.base import as_utf8, reference_ids
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.fidelity import check_fidelity
from codedata.tokenize.library import library_call
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.script_runs import command, lines, run, run_here

Json = dict[str, Any]

TEXT = "ab a b\nzé 🙂 " + "a" * 60 + "b"
"""Besides what the vocabularies have: other characters, and a run that regexes give up on."""


def tokenizer_of(model: Json, **parts: Any) -> Json:
    none = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return {"version": "1.0", "added_tokens": [], **dict.fromkeys(none), "model": model} | parts


def bpe(vocab: Json | None = None, **more: Any) -> Json:
    vocab = {"a": 0, "b": 1, "ab": 2, " ": 3, "\n": 4} if vocab is None else vocab
    return {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]]} | more


def unigram(*vocab: list[Any], **more: Any) -> Json:
    return {"type": "Unigram", "vocab": vocab, "unk_id": None} | more


def words(vocab: Json, **more: Any) -> Json:
    return {"type": "WordLevel", "vocab": vocab} | more


def pieces(vocab: Json, most: int = 9) -> Json:
    fields = {"unk_token": "U", "continuing_subword_prefix": "##", "max_input_chars_per_word": most}
    return {"type": "WordPiece", "vocab": vocab} | fields


def split(pattern: str) -> Json:
    step = {"type": "Split", "behavior": "Isolated", "invert": False}
    return step | {"pattern": {"Regex": pattern}}


def precompiled(charsmap: str) -> Json:
    return {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}


def text_of(name: str) -> Json:
    return {"Sequence": {"id": name, "type_id": 0}}


X_BEFORE = [{"SpecialToken": {"id": "X", "type_id": 0}}, text_of("A")]


def template(*ids: Any, **more: Any) -> Json:
    tokens = {"X": {"id": "X", "ids": ids, "tokens": ["X"] * len(ids)}}
    fields = {"single": X_BEFORE, "pair": [text_of("A"), text_of("B")], "special_tokens": tokens}
    return {"type": "TemplateProcessing"} | fields | more


def added(content: str, token_id: Any, **flags: bool) -> Json:
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": token_id, "content": content} | dict.fromkeys(names, False) | flags


def nested(depth: int) -> Json:
    part: Json = {"type": "NFC"}
    for _ in range(depth):
        part = {"type": "Sequence", "normalizers": [part]}
    return {"normalizer": part}


LARGE_IDS = (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, -1, 0.5, "7", None)
CHARSMAPS = {
    "garbage": b"\x07garbage" * 9,
    "no trie": bytes(4),
    "a trie longer than the file": struct.pack("<I", 2**31) + b"abc",
    "a trie of every byte": struct.pack("<I", 1024) + bytes(range(256)) * 4 + b"abc\0",
}
REGEXES = {
    "nothing": "",
    "gives up": r"(a+)+$",
    "too deep": "(" * 5000 + ")" * 5000,
    "looks behind": "(?<=a+)b",
    "itself": r"(?<x>a\g<x>?b)",
}
A, B = ["a", -1.0], ["b", -2.0]
MODELS: dict[str, Json] = {
    "unigram without unk": unigram(A, B),
    "unigram with unk outside": unigram(A, B, unk_id=7),
    "unigram of nothing": unigram(),
    "unigram of NaN": unigram(["a", float("nan")], B, unk_id=0),
    "words without unk": words({"a": 0}),
    "words with unk outside": words({"a": 0}, unk_token="U"),
    "pieces with unk outside": pieces({"a": 0}),
    "merges with unk outside": bpe(unk_token="U"),
    "merges of nothing": bpe({}, merges=[]),
    "merges to one id": bpe({"a": 0, "b": 0, "ab": 0}),
    "merges of affixes": bpe(end_of_word_suffix="</w>", continuing_subword_prefix="##"),
    "merges of short affixes": bpe(continuing_subword_prefix="##"),
    "merges within a character": bpe(
        {"a": 0, "é": 1, "aé": 2}, merges=["a é"], continuing_subword_prefix="#"
    ),
    "merges of characters": bpe(
        {"a": 0, "éb": 1, "ab": 2}, merges=[["a", "éb"]], continuing_subword_prefix="é"
    ),
    "no such model": {"type": "Nonsense"},
}
CUT_SHORT = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 5}
PADDED = {
    "strategy": "BatchLongest",
    "direction": "Right",
    "pad_to_multiple_of": 0,
    "pad_id": 0,
    "pad_type_id": 0,
    "pad_token": "a",
}
PARTS: dict[str, Json] = {
    "template missing token": {"post_processor": template(0, special_tokens={})},
    "template another number of ids": {"post_processor": template(0, 1)},
    "template unknown id": {"post_processor": template(77)},
    "template unknown id beyond 16 bits": {"post_processor": template(70_000)},
    "template the second text": {"post_processor": template(0, single=[text_of("B")])},
    "charsmap no base64": precompiled("!!"),
    "an empty added token": {"added_tokens": [added("", 5)]},
    "added tokens far apart": {"added_tokens": [added("Q", 500), added("R", 900)]},
    "an added token with another's id": {"added_tokens": [added("Q", 2), added("R", 2)]},
    "truncation to nothing": {"truncation": CUT_SHORT},
    "padding to a multiple of 0": {"padding": PADDED},
    "pieces of no length": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "a list as pre-tokenizer": {"pre_tokenizer": [[]]},
    "nested sixty times": nested(60),
    "nested too deep": nested(200),
}


def cases() -> Iterator[tuple[str, Json]]:
    for large in LARGE_IDS:
        bert = {"type": "BertProcessing", "sep": ["X", large], "cls": ["Y", 0]}
        yield f"id {large}", tokenizer_of(bpe({"a": 0, "b": 1, "ab": large}))
        yield f"template {large}", tokenizer_of(bpe(), post_processor=template(large))
        yield f"sep {large}", tokenizer_of(bpe(), post_processor=bert)
        yield f"added {large}", tokenizer_of(bpe(), added_tokens=[added("Q", large, special=True)])
        yield f"word {large}", tokenizer_of(words({"a": 0, "U": large}, unk_token="U"))
    for name, data in CHARSMAPS.items():
        charsmap = base64.b64encode(data).decode()
        yield f"charsmap {name}", tokenizer_of(bpe(), **precompiled(charsmap))
    for name, regex in REGEXES.items():
        replace = {"type": "Replace", "pattern": {"Regex": regex}, "content": "x"}
        yield f"split {name}", tokenizer_of(bpe(), pre_tokenizer=split(regex))
        yield f"replace {name}", tokenizer_of(bpe(), normalizer=replace)
    for name, model in MODELS.items():
        yield name, tokenizer_of(model)
    in_blocks = {"pre_tokenizer": split("[\r\n]")}
    yield "no unk, in blocks", tokenizer_of(bpe(unk_token="U"), **in_blocks)
    yield "no letter a, in blocks", tokenizer_of(bpe({"b": 0}, merges=[]), **in_blocks)
    for name, parts in PARTS.items():
        yield name, tokenizer_of(bpe(), **parts)
        yield f"{name}, in blocks", tokenizer_of(bpe(), **(in_blocks | parts))


CASES = dict(cases())


def write(folder: Path, structure: Json) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(structure), encoding="utf-8")
    return path


def require_one_line(error: TokenizerError, path: Path) -> None:
    message = str(error)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 1000


def ends_in_one_line_or_as_the_library(path: Path, structure: Json) -> bool:
    """Whether it works; where it does, all ids are the library's."""
    try:
        loaded = load_tokenizer(find_tokenizer(str(path)))
        engine = choose_engine(loaded)
        ids = engine.encode(as_utf8(TEXT)).ids.tolist()
        reference = reference_ids(loaded, TEXT)
        ends = [reference_ids(loaded, text) for text in ("", "a", "ab", TEXT[:7])]
    except TokenizerError as error:
        require_one_line(error, path)
        return False
    library = Tokenizer.from_str(json.dumps(structure))
    library.no_truncation()
    library.no_padding()
    assert reference == library.encode(TEXT).ids
    assert ends == [library.encode(text).ids for text in ("", "a", "ab", TEXT[:7])]
    try:
        check_fidelity(loaded, engine, TEXT)
    except TokenizerError as error:
        require_one_line(error, path)
        return False
    assert ids == reference
    return True


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_tokenizer_ends_in_one_line_or_works(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, CASES[name])
    ends_in_one_line_or_as_the_library(path, CASES[name])
    if name in WHY:
        with pytest.raises(TokenizerError, match=WHY[name]):
            reference_ids(load_tokenizer(find_tokenizer(str(path))), TEXT)


WHY = {
    "id 2147483648": r"gives 'ab' the id 2147483648; ids are 0 to 2147483647; save",
    "template 2147483648": r"frames every text with the id 2147483648, which its vocabulary does",
    "template unknown id": r"frames every text with the id 77, which its vocabulary does not",
    "template missing token": r"cannot work with .*tokenizer.json: no entry found for key; save",
    "charsmap garbage": r"is no tokenizer: .*precompiled_charsmap",
    "charsmap no trie": r"cannot work with .*index out of bounds",
    "split gives up": r"cannot work with .*retry-limit-in-match over",
    "unigram without unk": r"cannot work with .*`unk_id` is missing",
    "words with unk outside": r"cannot work with .*Missing \[UNK\] token",
    "merges with unk outside": r"cannot work with .*Unk token `U` not found",
    "merges of short affixes": r"its merge 'b' does not continue with its continuing_subword_pref",
    "merges of nothing": r"has an empty vocabulary",
}


@pytest.fixture(scope="module")
def structure() -> Json:
    """A real tokenizer's, small, with a template."""
    made = json.loads(scenario.train_tokenizer(scenario.deepseek_like(), 400).to_str())
    made["post_processor"] = template(0)
    return made


def places(part: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a structure, the vocabulary's and the merges' own aside from some."""
    items: list[tuple[Any, Any]] = []
    if isinstance(part, dict):
        items = list(part.items())
    elif isinstance(part, list):
        items = list(enumerate(part))
    few = items[:3] if where and where[-1] in ("vocab", "merges") else items
    for name, inner in few:
        yield (*where, name)
        yield from places(inner, (*where, name))


WRONG = [None, "", "X", "\n", -1, 1, 2**31, 2**64, 0.5, True, [], [[]], {}, {"type": "NFC"}, "gone"]


def test_a_tokenizer_with_some_parts_changed_ends_in_one_line_or_works(
    structure: Json, tmp_path: Path
) -> None:
    assert ends_in_one_line_or_as_the_library(write(tmp_path, structure), structure), "unchanged"
    random_ = random.Random(0)
    for _ in range(150):
        changed = copy.deepcopy(structure)
        for _ in range(random_.randrange(1, 3)):
            *where, last = random_.choice(list(places(changed)))
            holder = changed
            for name in where:
                holder = holder[name]
            if (wrong := random_.choice(WRONG)) == "gone":
                del holder[last]
            else:
                holder[last] = copy.deepcopy(wrong)
        ends_in_one_line_or_as_the_library(write(tmp_path, changed), changed)


def test_only_what_the_library_raises_is_turned_into_a_message() -> None:
    with pytest.raises(TokenizerError, match=r"^it fails: a b$"), library_call("it fails"):
        raise Exception("a\n b")  # noqa: TRY002  (as the library does)
    for kind in (KeyboardInterrupt, SystemExit, MemoryError, OverflowError):
        with pytest.raises(kind), library_call("it fails"):
            raise kind


# The script


def switches_for(corpus: Path, tokenizer: Path, target: Path) -> list[str]:
    return [
        *("--data_file", str(corpus), "--tokenization_folder", str(target)),
        *("--tokenizer_base", str(tokenizer), "--pad_token", "0", "--min_sample_length", "0"),
    ]


def test_the_script_refuses_it_in_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, CASES["charsmap no trie"])
    assert run_here(switches_for(corpus, path, tmp_path / "set")) == 1
    [line] = lines(capsys.readouterr().err)
    assert line.startswith("tokenize_data: error: ")
    assert not (tmp_path / "set").exists()


def test_a_chunk_that_panics_in_the_middle_of_a_run_ends_it_in_one_line(
    documents: list[str], tokenizer_folder: Path, tmp_path: Path
) -> None:
    """The tokenizer works until a line has a long run of one letter and then another."""
    structure = json.loads((tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
    structure["pre_tokenizer"]["pretokenizers"].insert(0, split(r"(z+)+\$"))
    path = write(tmp_path, structure)
    corpus = scenario.write_parquet(
        tmp_path / "c.parquet", [*documents[:8], "z" * 60, *documents[:2]]
    )
    target = tmp_path / "set"
    start = len(scenario.plain_text(documents[:8])) // 10_000 * 10_000
    done = run(command([*switches_for(corpus, path, target), "--chunk_size", "10000"]))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = lines(done.stderr)[-1]
    assert last.startswith("tokenize_data: error: ")
    assert "retry-limit-in-match" in last
    assert f"characters {start} to " in last
    assert not target.exists()
