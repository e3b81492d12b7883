"""Finding a tokenizer on this machine, its framing ids, its refusals."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from codedata.errors import TokenizerError
from codedata.tokenize import tokenizer_files
from codedata.tokenize.engines.base import as_utf8, reference_ids
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import plain_reference, scenario


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return scenario.train_tokenizer(scenario.deepseek_like())


def ids_of(source: Path, text: str) -> list[int]:
    loaded = load_tokenizer(find_tokenizer(str(source)))
    ids = choose_engine(loaded).encode(as_utf8(text)).ids.tolist()
    assert ids == reference_ids(loaded, text)
    return ids


def with_template(tokenizer: Tokenizer) -> Tokenizer:
    copy = Tokenizer.from_str(tokenizer.to_str())
    bos, pad = copy.token_to_id(scenario.BOS), copy.token_to_id(scenario.PAD)
    copy.post_processor = processors.TemplateProcessing(
        single=f"{scenario.BOS} $A {scenario.PAD}",
        special_tokens=[(scenario.BOS, bos), (scenario.PAD, pad)],
    )
    return copy


BOS = {"add_bos_token": True, "bos_token": scenario.BOS}
EOS = {"add_eos_token": True, "eos_token": scenario.EOT}
FRAMES: dict[str, tuple[bool, dict[str, Any], str, str]] = {
    "no config": (False, {}, "", ""),
    "config says false": (False, BOS | {"add_bos_token": False}, "", ""),
    "config says true": (False, BOS, "B", ""),
    "the token as an object": (False, BOS | {"bos_token": {"content": scenario.BOS}}, "B", ""),
    "BOS and EOS": (False, BOS | EOS, "B", "E"),
    "template only": (True, {}, "B", "P"),
    "template and the same BOS": (True, BOS, "B", "P"),
    "template and another EOS": (True, EOS, "B", "PE"),
}


@pytest.mark.parametrize(("template", "config", "before", "after"), FRAMES.values(), ids=FRAMES)
def test_special_tokens_are_those_that_the_files_declare(
    template: bool,
    config: dict[str, Any],
    before: str,
    after: str,
    trained: Tokenizer,
    tmp_path: Path,
) -> None:
    tokenizer = with_template(trained) if template else trained
    folder = scenario.save_tokenizer(tokenizer, tmp_path / "t", **config)
    names = {"B": scenario.BOS, "P": scenario.PAD, "E": scenario.EOT}
    first, last = ([trained.token_to_id(names[n]) for n in some] for some in (before, after))
    for text in ("hello world", "a\n" * 5_000, "int\nx", ""):
        bare = trained.encode(text, add_special_tokens=False).ids
        assert ids_of(folder, text) == first + bare + last
        if not isinstance(config.get("bos_token"), dict):
            assert plain_reference.reference_ids(folder, text) == first + bare + last


def test_a_text_that_starts_with_bos_gets_no_second_one_and_a_bare_tokenizer_json_none(
    trained: Tokenizer, tmp_path: Path
) -> None:
    folder = scenario.save_tokenizer(trained, tmp_path / "t", **BOS)
    text = f"{scenario.BOS}int"
    assert ids_of(folder, text) == trained.encode(text).ids
    assert ids_of(folder / "tokenizer.json", "int i") == trained.encode("int i").ids


def test_truncation_and_padding_that_the_file_declares_are_switched_off(
    trained: Tokenizer, tmp_path: Path
) -> None:
    copy = Tokenizer.from_str(trained.to_str())
    copy.enable_truncation(4)
    copy.enable_padding(length=50)
    folder = scenario.save_tokenizer(copy, tmp_path / "t")
    assert ids_of(folder, "int i = 0; int j = 1;") == trained.encode("int i = 0; int j = 1;").ids


def test_the_fingerprint_follows_the_bytes_of_both_files(
    trained: Tokenizer, tmp_path: Path
) -> None:
    one = scenario.save_tokenizer(trained, tmp_path / "one", add_bos_token=False)
    two = scenario.save_tokenizer(trained, tmp_path / "two", add_bos_token=False)
    assert find_tokenizer(str(one)).fingerprint == find_tokenizer(str(two)).fingerprint
    bare = find_tokenizer(str(one / "tokenizer.json"))
    assert bare.fingerprint != find_tokenizer(str(one)).fingerprint
    with open(two / "tokenizer_config.json", "a", encoding="utf-8") as file:
        file.write(" ")
    assert find_tokenizer(str(one)).fingerprint != find_tokenizer(str(two)).fingerprint


def test_files_that_change_after_they_were_found_are_refused(
    trained: Tokenizer, tmp_path: Path
) -> None:
    files = find_tokenizer(str(scenario.save_tokenizer(trained, tmp_path / "t")))
    with open(files.tokenizer_json, "a", encoding="utf-8") as file:
        file.write(" ")
    with pytest.raises(TokenizerError, match="changed during the run"):
        load_tokenizer(files)


def of_absurd_size(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(tokenizer_files.MAX_TOKENIZER_BYTES + 1)


NOTHING = {
    "nothing": (str, r"has no tokenizer\.json"),
    "a FIFO": (os.mkfifo, r"tokenizer\.json is no regular file"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "cannot be read: No such"),
    "a huge file": (of_absurd_size, "has 268,435,457 bytes, which no tokenizer has"),
}


@pytest.mark.parametrize(("make", "message"), NOTHING.values(), ids=NOTHING)
def test_what_stands_in_a_folder_in_place_of_tokenizer_json_is_refused_unread(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "tokenizer.json")
    with pytest.raises(TokenizerError, match=message):
        find_tokenizer(str(tmp_path))


@pytest.mark.parametrize("make", [NOTHING["a FIFO"], NOTHING["a link to nothing"]])
def test_a_config_that_is_no_file_is_not_taken_for_none(
    make: tuple[Callable[[Path], None], str], trained: Tokenizer, tmp_path: Path
) -> None:
    scenario.save_tokenizer(trained, tmp_path)
    make[0](tmp_path / "tokenizer_config.json")
    message = make[1].replace("tokenizer", "tokenizer_config", 1)
    with pytest.raises(TokenizerError, match=message):
        find_tokenizer(str(tmp_path))


def test_devices_and_links_to_nothing_are_refused_and_not_asked_of_the_hub(tmp_path: Path) -> None:
    (link := tmp_path / "t").symlink_to("nowhere")
    for place, why in [("/dev/zero", ""), ("/dev/null", ""), (link, ".* is a link to nothing")]:
        with pytest.raises(TokenizerError, match=f"{place}{why}"):
            load_tokenizer(find_tokenizer(str(place)))
