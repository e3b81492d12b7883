"""The token figures of a tiny dataset, counted by hand."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from codedata.reporting.token_figures import TokenFigures, token_figures
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.tokenizer_files import TokenizerFiles, find_tokenizer
from codedata_tests import scenario

WORDS = ["pad", "int", "x", ";", "never", "~~~"]
PAD = 0


def words_tokenizer(folder: Path, words: list[str]) -> TokenizerFiles:
    """Each word is the token of its place in the list."""
    model = models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=words[0])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return find_tokenizer(str(scenario.save_tokenizer(tokenizer, folder)))


@pytest.fixture
def tokenizer(tmp_path: Path) -> TokenizerFiles:
    return words_tokenizer(tmp_path / "words", WORDS)


def report_of(
    folder: Path, shards: list[list[list[int]]], tokenizer: TokenizerFiles, pad: int = PAD
) -> TokenFigures:
    dataset = open_dataset(scenario.write_dataset(folder, shards))
    return token_figures(dataset, tokenizer, pad)


SHARDS = [[[1, 2, 0, 3], [1, 2, 3, 0]], [[2, 0, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 2, 2]]]
"""Padding of the shards: 1 (a pad id inside is none), 3, 4 (all pad) and 0 (pad ids lead)."""


def test_tokens_padding_and_vocabulary_are_as_counted_by_hand(
    tokenizer: TokenizerFiles, tmp_path: Path
) -> None:
    report = report_of(tmp_path / "d", SHARDS, tokenizer)
    assert report == TokenFigures(
        num_tokens=20,
        num_padding=8,
        vocab_size=6,
        vocab_used=4,
        # Of the eleven pad ids three are no padding. Equal counts come in the order of the ids.
        most_frequent=[("'x'", 2, 5), ("'pad'", 0, 3), ("'int'", 1, 2), ("';'", 3, 2)],
        sample="int x pad ;",
        tokens_of_samples=[["int", "x", "pad", ";"], ["int", "x", ";", "pad"]],
    )


PADDINGS: list[tuple[list[list[int]], int]] = [
    *(([[1, 2, 3, 3]], 0), ([[1, 0, 0, 3]], 0), ([[0, 0, 0, 3]], 0), ([[1, 0, 3, 0]], 1)),
    *(([[1, 0, 0, 0]], 3), ([[0, 0, 0, 0]], 4)),
    ([[1, 2, 3, 0], [1, 2, 0, 0], [1, 0, 0, 0]], 3),  # only the last sample can be padded
]


def test_where_the_meta_does_not_say_padding_is_the_run_of_pad_ids_that_a_shard_ends_with(
    tokenizer: TokenizerFiles, tmp_path: Path
) -> None:
    for number, (samples, num_padding) in enumerate(PADDINGS):
        report = report_of(tmp_path / str(number), [samples], tokenizer)
        assert report.num_padding == num_padding


def test_a_pad_id_that_only_pads_is_not_among_the_most_frequent(
    tokenizer: TokenizerFiles, tmp_path: Path
) -> None:
    report = report_of(tmp_path / "d", [[[3, 0, 0, 0]], [[3, 1, 0, 0]]], tokenizer)
    assert report.most_frequent == [("';'", 3, 2), ("'int'", 1, 1)]


def test_another_pad_token_is_another_padding(tokenizer: TokenizerFiles, tmp_path: Path) -> None:
    report = report_of(tmp_path / "d", SHARDS, tokenizer, pad=2)
    assert report.num_padding == 2
    assert report.most_frequent[:2] == [("'pad'", 0, 11), ("'x'", 2, 3)]


def test_ids_above_65535_are_counted_too(tmp_path: Path) -> None:
    tokenizer = words_tokenizer(tmp_path / "many", [f"w{index}" for index in range(70_001)])
    report = report_of(tmp_path / "d", [[[70_000, 1], [70_000, 0]]], tokenizer)
    assert (report.vocab_size, report.vocab_used, report.num_padding) == (70_001, 2, 1)
    assert report.most_frequent == [("'w70000'", 70_000, 2), ("'w1'", 1, 1)]


def test_twenty_five_tokens_are_listed(tmp_path: Path) -> None:
    tokenizer = words_tokenizer(tmp_path / "many", [f"w{index}" for index in range(40)])
    report = report_of(tmp_path / "d", [[[*range(1, 31), 30]]], tokenizer)
    expected = [30, *range(1, 25)]
    assert [token_id for _, token_id, _ in report.most_frequent] == expected


def test_the_markdown_has_the_figures_and_the_sample_in_a_fence(
    tokenizer: TokenizerFiles, tmp_path: Path
) -> None:
    report = report_of(tmp_path / "d", [[[1, 2, 5, 0]] * 2] * 250, tokenizer)
    assert report.sample == "int x ~~~ pad"
    sample = "its first tokens, a ▏ between them:\n\n~~~c\nint▏x▏▏pad\n~~~"
    assert report.markdown() == (
        "| | |\n"
        "|---|---:|\n"
        "| tokens | 2,000 |\n"
        "| of them padding | 250 (12.50%) |\n"
        "| vocabulary used | 4 of 6 |\n"
        "\n"
        f"Sample 0, {sample}\n"
        "\n"
        f"Sample 1, {sample}"
    )


def test_pictures_stand_between_figures_and_samples(
    tokenizer: TokenizerFiles, tmp_path: Path
) -> None:
    report = report_of(tmp_path / "d", [[[1, 2, 5, 0]]], tokenizer)
    parts = report.markdown({"A": "<svg/>", "B": "<svg/>"}).split("\n\n")
    svg = "(data:image/svg+xml;base64,PHN2Zy8+)"
    assert parts[1:3] == [f"![A]{svg}", f"![B]{svg}"]
    assert parts[3].startswith("Sample 0, ")
