"""What a split is made of, in words: tiny datasets, read by hand."""

import re
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from codedata.recipe.settings import Settings
from codedata.reporting.description import SplitDescription, most_frequent, token_texts
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


def described(folder: Path, shards: list[list[list[int]]]) -> SplitDescription:
    dataset = open_dataset(scenario.write_dataset(folder / "d", shards))
    return SplitDescription(
        name="d",
        dataset=dataset,
        settings=Settings(),
        tokenizer=words_tokenizer(folder / "words", WORDS),
        tokenizer_name="words",
        corpus="c",
        command="",
        windows=[],
        no_windows="gone",
        tokens=count_tokens(dataset, len(WORDS), PAD),
        document_lengths=None,
    )


def test_the_most_frequent_tokens_come_first_and_equal_counts_by_id(tmp_path: Path) -> None:
    loaded = words_tokenizer(tmp_path / "few", WORDS)
    expected = [("'x'", 2, 5), ("'pad'", 0, 3), ("'int'", 1, 2), ("';'", 3, 2)]
    assert most_frequent(loaded, np.array([3, 2, 5, 2, 0, 0])) == expected
    many = words_tokenizer(tmp_path / "many", [f"w{index}" for index in range(40)])
    counts = np.array([1] * 30 + [7] + [1] * 9)
    assert [token_id for _, token_id, _ in most_frequent(many, counts)] == [30, *range(9)]


def test_tokens_of_a_sample_are_its_text_and_parts_of_a_character_stand_together(
    tokenizer_folder: Path,
) -> None:
    loaded = load_tokenizer(find_tokenizer(str(tokenizer_folder)))
    text = "int größe; // 计算 \N{GRINNING FACE}"
    ids = loaded.tokenizer.encode(text, add_special_tokens=False).ids
    texts = token_texts(loaded, ids)
    assert "".join(texts) == text
    assert "\N{GRINNING FACE}" in texts[-1]
    assert 5 < len(texts) < len(ids)


def test_the_markdown_has_figures_pictures_and_the_sample_in_a_fence(tmp_path: Path) -> None:
    split = described(tmp_path, [[[1, 2, 5, 0]] * 2] * 250)
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
        "\n\nThe first sample, its first tokens, a ▏ between them:\n\n~~~c\nint▏x▏▏pad\n~~~"
    )
