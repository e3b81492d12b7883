"""Tokenizers that the tests of engines, structure and fidelity share."""

import pytest

from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests.tokenize.structures import STRUCTURES, loaded_from


@pytest.fixture(scope="session")
def tokenizers_by_name(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedTokenizer]:
    return {
        name: loaded_from(make(), tmp_path_factory.mktemp(name))
        for name, make in STRUCTURES.items()
    }


@pytest.fixture
def deepseek_like(tokenizers_by_name: dict[str, LoadedTokenizer]) -> LoadedTokenizer:
    return tokenizers_by_name["deepseek"]


@pytest.fixture
def gpt2_like(tokenizers_by_name: dict[str, LoadedTokenizer]) -> LoadedTokenizer:
    return tokenizers_by_name["gpt2"]
