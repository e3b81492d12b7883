"""What a split is made of, in words: tiny datasets, read by hand."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from codedata.format.documents import DocumentCounts, Form
from codedata.recipe.documents import DocumentRecipe, FimIds, ResolvedRecipe
from codedata.recipe.settings import Settings
from codedata.reporting.description import SplitDescription
from codedata.reporting.statistics import count_tokens
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

WORDS = ["pad", "int", "x", ";", "never", "~~~"]
PAD = 0


def words_tokenizer(folder: Path, words: list[str]) -> LoadedTokenizer:
    """Each word is the token of its place in the list."""
    model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=words[0])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return load_tokenizer(find_tokenizer(str(scenario.save_tokenizer(tokenizer, folder))))


def described(
    folder: Path, shards: list[list[list[int]]], tokenizer: LoadedTokenizer, *, name: str = "d"
) -> SplitDescription:
    dataset = open_dataset(scenario.write_dataset(folder / name, shards))
    return SplitDescription(
        name="d",
        dataset=dataset,
        settings=Settings(),
        tokenizer=tokenizer,
        tokenizer_name="words",
        corpus="c",
        command="",
        windows=[],
        samples_by_corpus={},
        no_windows="gone",
        tokens=count_tokens(dataset, tokenizer.vocab_size, PAD),
        document_lengths=None,
    )


def test_tokens_of_a_sample_are_its_text_and_parts_of_a_character_stand_together(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    loaded = load_tokenizer(find_tokenizer(str(tokenizer_folder)))
    text = "int größe; // 计算 \N{GRINNING FACE} \ufffd return  x;"
    ids = loaded.tokenizer.encode(text, add_special_tokens=False).ids
    [(mark, shown)] = described(tmp_path, [[ids]], loaded).sample
    assert not mark
    assert "".join(shown) == text
    assert any("\N{GRINNING FACE}" in each for each in shown)
    assert 10 < len(shown) < len(ids)


def test_the_markdown_has_figures_pictures_and_the_sample_in_a_fence(tmp_path: Path) -> None:
    words = words_tokenizer(tmp_path / "words", WORDS)
    split = described(tmp_path, [[[1, 2, 5, 0]] * 2] * 250, words)
    markdown = split.markdown()
    assert markdown.startswith(
        "| | |\n"
        "|---|---:|\n"
        "| samples | 500 of 4 tokens |\n"
        "| tokens | 2,000 |\n"
        "| of them padding | 250 (12.50%) |\n"
        "| vocabulary used | 4 of 6 |\n"
        "\n"
        "![Token frequency](data:image/svg+xml;base64,"
    )
    assert re.findall(r"!\[([^]]*)\]", markdown) == ["Token frequency", "Tokens per chunk"]
    assert markdown.endswith(
        "\n\nThe first sample, its first tokens, a ▏ between them:\n\n~~~c\nint▏ x▏ ▏ pad\n~~~"
    )


RECIPE = ResolvedRecipe(
    recipe=DocumentRecipe(eos="x", bos=";"),
    bos=3,
    eos=2,
    fim=FimIds(prefix=10, suffix=11, middle=12),
)


def of_documents(folder: Path) -> SplitDescription:
    """Four documents: whole, prefix first, whole, and one of three samples."""
    lengths = (4, 3, 6, 19)
    dataset = open_dataset(
        scenario.write_document_dataset(folder / "d", [lengths], forms={1: Form.PSM})
    )
    words = [f"w{number}" for number in range(600)]
    split = described(folder, [[[1]]], words_tokenizer(folder / "words", words), name="other")
    return replace(
        split,
        dataset=dataset,
        tokens=count_tokens(dataset, 600, PAD),
        recipe=RECIPE,
        documents=DocumentCounts(documents=4, tokens=32, tokens_packed=32, cut=1, pieces=4, psm=1),
    )


def test_the_sample_says_where_each_document_begins_goes_on_and_in_which_form(
    tmp_path: Path,
) -> None:
    split = of_documents(tmp_path)
    assert [mark for mark, _ in split.sample] == [
        "document 0",
        "document 1, prefix first",
        "padding",
    ]
    assert "".join(split.sample[1][1]).split() == ["w200", "w201", "w1"]
    assert "\u27e6document 0\u27e7w100" in split.markdown()
    shards, spans = split.dataset.shards[2:], split.dataset.spans[2:]
    going_on: Any = SimpleNamespace(shards=shards, spans=spans)
    (mark, _), (padding, _) = replace(split, dataset=going_on).sample
    assert (mark, padding) == ("document 3 from its token 16", "padding")


def test_the_figures_of_documents_say_what_a_recipe_s_tokens_are(tmp_path: Path) -> None:
    split = of_documents(tmp_path)
    rows = dict(split.document_figures)
    assert rows["documents cut over samples"] == "1 (25.0%)"
    assert rows["documents a sample"] == "1.20, at most 2"
    assert rows["token 2, ends documents"] == "0 (0.0%)"
    assert [name for name in rows if name.startswith("token ")] == [
        "token 2, ends documents",
        "token 3, begins documents",
        "token 10, before a prefix",
        "token 11, before a suffix",
        "token 12, before a middle",
    ]
    markdown = split.markdown()
    assert "| pieces asked prefix first | 1 (25.0%) |" in markdown
    assert "![Documents a sample](data:image/svg+xml;base64," in markdown
    framed = replace(RECIPE, bos=2)
    assert replace(split, recipe=framed).roles[2] == "begins and ends documents"
