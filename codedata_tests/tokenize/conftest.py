"""Tokenizers that the tests of engines, structure and fidelity share."""

from collections.abc import Callable
from functools import cache

import pytest

from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests.tokenize.structures import STRUCTURES, loaded_from
from codedata_tests.tokenize.twins import TRAPS, TWINS


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedTokenizer]:
    """A family's tokenizer by its name, made when it is first asked for."""
    made = TWINS | TRAPS
    return cache(lambda name: loaded_from(made[name](), tmp_path_factory.mktemp("twin")))


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
