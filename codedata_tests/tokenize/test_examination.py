"""What is told of a tokenizer: its frame, its declared parts, and the text that speed is of."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from codedata.errors import CorpusError
from codedata.tokenize.engines.base import as_utf8, reference_ids
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.examination import Examination, SpeedText, parts_of, speed_text
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

BEGIN, PAD = "<|begin|>", "<|pad|>"
SOME = SpeedText(what="some text", text="int x;\n" * 40)


def examined(folder: Path, template: str | None, **config: Any) -> Examination:
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like())
    if template is not None:
        ids = [(token, tokenizer.token_to_id(token)) for token in (BEGIN, PAD)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=ids
        )
    loaded = load_tokenizer(
        find_tokenizer(str(scenario.save_tokenizer(tokenizer, folder, **config)))
    )
    return Examination(
        loaded=loaded, engine=choose_engine(loaded), not_proven=[], text="int", speed_text=SOME
    )


@pytest.mark.parametrize(
    ("template", "config", "before", "after"),
    [
        (None, {}, [], []),
        (f"{BEGIN} $A {PAD}", {}, ["post_processor"], ["post_processor"]),
        (
            None,
            {"add_bos_token": True, "add_eos_token": True},
            ["add_bos_token"],
            ["add_eos_token"],
        ),
        (f"{BEGIN} $A", {"add_bos_token": True}, ["post_processor"], []),
        (f"{PAD} $A", {"add_bos_token": True}, ["add_bos_token", "post_processor"], []),
    ],
)
def test_what_frames_a_chunk_is_told_with_who_asks_for_it(
    template: str | None, config: Any, before: list[str], after: list[str], tmp_path: Path
) -> None:
    tokens = {"bos_token": BEGIN, "eos_token": PAD} if config else {}
    found = examined(tmp_path, template, **config, **tokens)
    assert found.framing is not None
    first, last = found.framing
    assert ([by for _, by in first], [by for _, by in last]) == (before, after)
    own = found.loaded.tokenizer.encode("int x;", add_special_tokens=False).ids
    framed = [*(each for each, _ in first), *own, *(each for each, _ in last)]
    assert framed == reference_ids(found.loaded, "int x;")
    assert framed == found.engine.encode(as_utf8("int x;")).ids.tolist()


def test_of_a_post_processor_that_does_more_no_frame_is_told(tmp_path: Path) -> None:
    assert examined(tmp_path, f"{BEGIN} $A $A").framing is None


def test_a_part_is_told_a_line_a_step_without_what_is_switched_off() -> None:
    step = {"type": "Split", "pattern": {"Regex": "[\r\n]"}, "behavior": "Removed", "invert": True}
    inner = {"type": "Sequence", "pretokenizers": [step, {"type": "Digits", "individual": False}]}
    assert parts_of({"type": "Sequence", "pretokenizers": [inner, {"type": "Whitespace"}]}) == [
        r"Split, Regex '[\r\n]', behavior 'Removed', invert",
        "Digits",
        "Whitespace",
    ]
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["a", -1.0]], "byte_fallback": False}
    assert parts_of(model) == ["Unigram, unk_id 0, 1 vocab"]
    charsmap = {"type": "Precompiled", "precompiled_charsmap": "A" * 3000}
    assert parts_of(charsmap) == ["Precompiled, precompiled_charsmap of 3,000 characters"]
    assert (parts_of(None), parts_of([])) == ([], ["[]"])


def test_without_a_corpus_speed_is_of_installed_code_long_enough_to_be_timed() -> None:
    found = speed_text(None)
    assert (len(found.text), found.text.count("#include") > 100) == (3_000_000, True)
    assert found.what == "the C and C++ headers of numpy and pyarrow"


def test_a_corpus_shorter_than_what_is_timed_is_taken_whole_and_an_empty_one_refused(
    tmp_path: Path,
) -> None:
    short = scenario.write_parquet(tmp_path / "short.parquet", ["int x;", "int y;"])
    assert speed_text(short) == SpeedText(what=str(short), text="int x; int y;")
    with pytest.raises(CorpusError, match="holds no text"):
        speed_text(scenario.write_parquet(tmp_path / "empty.parquet", [""]))
