# ruff: noqa: RUF001  (characters that look alike are in the tokens of families)
"""A recipe's tokens by name: their ids, the families that `auto` knows, and what is refused."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from codedata.errors import SettingsError
from codedata.recipe.documents import DocumentRecipe, FimIds
from codedata.tokenize.recipe_tokens import FIM_FAMILIES, with_ids
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

NAMES = ("<pre>", "<suf>", "<mid>")


def loaded_with(folder: Path, tokens: Sequence[str], **config: str) -> LoadedTokenizer:
    """A tokenizer of bytes, with the scenario's added tokens and some that are not special."""
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like(), vocab_size=256)
    tokenizer.add_tokens([AddedToken(token) for token in tokens])
    return load_tokenizer(find_tokenizer(str(scenario.save_tokenizer(tokenizer, folder, **config))))


def recipe(
    tokens: object = NAMES, *, eos: str = scenario.EOT, bos: str | None = None
) -> DocumentRecipe:
    fim = None if tokens is None else {"tokens": tokens}
    return DocumentRecipe.of({"documents": {"eos": eos, "bos": bos}, "fim": fim})


def test_names_become_ids_and_the_recipe_stays_as_it_was_written(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, NAMES)
    written = recipe(bos=scenario.BOS)
    found = with_ids(written, loaded)
    assert found.recipe is written
    assert (found.bos, found.eos) == (256, 258), "256 bytes, then <|begin|>, <|pad|>, <|EOT|>"
    assert found.fim == FimIds(prefix=259, suffix=260, middle=261)
    assert found.control_ids == (256, 258, 259, 260, 261)
    assert with_ids(recipe(None), loaded).control_ids == (258,)


def test_one_token_may_stand_before_and_after_a_document(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, NAMES)
    found = with_ids(recipe(bos=scenario.EOT), loaded)
    assert (found.bos, found.eos) == (258, 258)


@pytest.mark.parametrize("family", FIM_FAMILIES)
def test_auto_takes_the_three_tokens_of_the_family_that_the_vocabulary_has(
    family: str, tmp_path: Path
) -> None:
    lone = [names[0] for other, names in FIM_FAMILIES.items() if other != family]
    loaded = loaded_with(tmp_path, [*FIM_FAMILIES[family], *lone])
    found = with_ids(recipe("auto"), loaded).fim
    assert found == FimIds(prefix=259, suffix=260, middle=261)


def test_the_names_of_deepseek_say_hole_for_the_suffix_and_end_for_the_middle() -> None:
    assert [name[5:-1] for name in FIM_FAMILIES["DeepSeek"]] == ["▁begin｜", "▁hole｜", "▁end｜"]


def test_auto_is_refused_where_no_family_or_more_than_one_is_there(tmp_path: Path) -> None:
    bare = loaded_with(tmp_path / "bare", ["<fim_prefix>", "<fim_suffix>"])
    with pytest.raises(
        SettingsError, match=r"^recipe.fim.tokens is auto, and .* of no family"
    ) as no:
        with_ids(recipe("auto"), bare)
    assert "name them: tokens: {prefix: ..., suffix: ..., middle: ...}" in str(no.value)
    assert bare.tokenizer.token_to_id("<fim_middle>") is None, "none was added"
    both = [*FIM_FAMILIES["SantaCoder"], *FIM_FAMILIES["GLM"]]
    with pytest.raises(SettingsError, match="has those of 2 families") as two:
        with_ids(recipe("auto"), loaded_with(tmp_path / "both", both))
    assert "SantaCoder: <fim-prefix>, <fim-suffix>, <fim-middle>; GLM: <|code" in str(two.value)


def test_a_name_that_is_no_token_is_refused_with_what_the_tokenizer_has(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, NAMES, eos_token=scenario.EOT, bos_token=scenario.BOS)
    for wrong, message in {
        recipe(eos="<|endoftext|>"): (
            "recipe.documents.eos '<|endoftext|>' is not in the vocabulary of .*; name one of its "
            "tokens: its EOS token '<|EOT|>' (id 258)"
        ),
        recipe(bos="<|began|>"): (
            "recipe.documents.bos '<|began|>' is not in .*: its BOS token '<|begin|>' (id 256)"
        ),
        recipe(("<pre>", "<sfu>", "<mid>")): (
            "recipe.fim.tokens, the suffix, '<sfu>' is not in .*: '<suf>' (id 260)"
        ),
    }.items():
        pattern = ".*".join(map(re.escape, message.split(".*")))
        with pytest.raises(SettingsError, match=f"^{pattern}") as found:
            with_ids(wrong, loaded)
        assert "\n" not in str(found.value)
    with pytest.raises(SettingsError) as found:
        with_ids(recipe(eos="9" * 5_000), loaded)
    assert len(str(found.value)) < 800


def test_what_a_recipe_does_not_use_is_a_control_token_all_the_same(tmp_path: Path) -> None:
    """A document that holds a sentinel literally would ask the model for a middle."""
    names = FIM_FAMILIES["StarCoder, Granite"]
    loaded = loaded_with(tmp_path, names, bos_token=scenario.BOS, eos_token=";")
    found = with_ids(recipe(None), loaded)
    ids = {loaded.tokenizer.token_to_id(name) for name in names}
    assert {*found.control_ids} == {*ids, 256, 258}, "and no ; of the text, whatever is declared"
    assert found.used_ids == (258,)


def test_a_token_that_text_has_is_refused_since_it_would_drop_nearly_all(tmp_path: Path) -> None:
    loaded = loaded_with(tmp_path, NAMES, eos_token=scenario.EOT)
    with pytest.raises(
        SettingsError, match=r"eos ';' \(id 26\) is a token of text .* its EOS token"
    ):
        with_ids(recipe(eos=";"), loaded)
    never = loaded.tokenizer.id_to_token(255)
    assert never is not None
    assert with_ids(recipe(eos=never), loaded).eos == 255, "a byte that no text has is none of text"


def test_a_word_that_decoders_strip_of_its_space_is_a_token_of_text_too(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(byte_fallback=False, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False)
    tokenizer.train_from_iterator(scenario.c_documents(9), trainer)
    tokenizer.add_special_tokens([scenario.EOT])
    folder = scenario.save_tokenizer(tokenizer, tmp_path / "metaspace")
    loaded = load_tokenizer(find_tokenizer(str(folder)))
    frequent = Counter(loaded.tokenizer.encode("  ".join(scenario.c_documents(9))).tokens)
    words = [token for token, _ in frequent.most_common(60) if re.fullmatch(r"▁?[a-z]+", token)]
    assert {word[0] == "▁" for word in words} == {False, True}
    for token in ("▁", *words):
        with pytest.raises(SettingsError, match="is a token of text"):
            with_ids(recipe(None, eos=token), loaded)


def test_eos_is_no_sentinel_of_the_family_that_auto_finds(tmp_path: Path) -> None:
    prefix, *_ = FIM_FAMILIES["GLM"]
    loaded = loaded_with(tmp_path, FIM_FAMILIES["GLM"])
    for wrong in (recipe("auto", eos=prefix), recipe("auto", bos=prefix)):
        with pytest.raises(SettingsError, match=r"are not three tokens beside eos .* and bos"):
            with_ids(wrong, loaded)
