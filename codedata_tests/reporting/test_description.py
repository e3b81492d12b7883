"""What a split is made of, in words: tiny datasets, read by hand."""

import re
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

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
    folder: Path, shards: list[list[list[int]]], tokenizer: LoadedTokenizer
) -> SplitDescription:
    dataset = open_dataset(scenario.write_dataset(folder / "d", shards))
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
