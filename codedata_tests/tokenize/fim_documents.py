"""Documents with fill-in-the-middle, as the tests of it make them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from codedata.format.packing import IdArray
from codedata.recipe.documents import DocumentRecipe, ResolvedRecipe
from codedata.tokenize.bare_ids import TextIds, Texts
from codedata.tokenize.engines.base import Engine, as_utf8
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.fim import fim_pieces
from codedata.tokenize.plain_text import ids_as_text
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.undo_fim import PieceOfDocument
from codedata_tests.tokenize.structures import loaded_from

FRAME = ("<|bos|>", "<|eos|>")
SENTINELS = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FimTokenizer:
    """A tokenizer that has the tokens of fill-in-the-middle."""

    loaded: LoadedTokenizer
    engine: Engine

    def recipe(
        self, *, bos: bool = True, control_tokens: str = "drop", **fim: Any
    ) -> ResolvedRecipe:
        named = {
            "bos": FRAME[0] if bos else None,
            "eos": FRAME[1],
            "control_tokens": control_tokens,
        }
        fim = {"tokens": SENTINELS, **fim}
        return with_ids(DocumentRecipe.of({"documents": named, "fim": fim}), self.loaded)

    def bare(self, recipe: ResolvedRecipe, texts: Sequence[str]) -> TextIds:
        """As documents are tokenized."""
        utf8 = Texts.of([as_utf8(text) for text in texts])
        found = [
            ids for ids in ids_as_text(self.loaded, self.engine, recipe, utf8) if ids is not None
        ]
        assert len(found) == len(texts), "no text of the tests has control tokens in this mode"
        ends = np.cumsum([len(ids) for ids in found], dtype=np.int64)
        return TextIds(ids=np.concatenate(found), ends=ends)

    def pieces(
        self,
        recipe: ResolvedRecipe,
        texts: Sequence[str],
        seq_length: int,
        *,
        threads: int = 1,
        engine: Engine | None = None,
    ) -> list[list[PieceOfDocument]]:
        """The pieces of each document."""
        ids, rows = fim_pieces(
            self.loaded,
            engine or self.engine,
            recipe,
            Texts.of([as_utf8(text) for text in texts]),
            self.bare(recipe, texts),
            [hash_of(text) for text in texts],
            seq_length=seq_length,
            threads=threads,
        )
        assert rows.dtype == np.int32
        assert np.all(np.diff(rows[:, 0]) >= 0)
        assert rows[:, 1].sum() == len(ids)
        found: list[list[PieceOfDocument]] = [[] for _ in texts]
        for piece, (document, _, form) in zip(_split(ids, rows[:, 1]), rows.tolist(), strict=True):
            found[document].append((piece, form))
        return found


def _split(ids: IdArray, lengths: Any) -> list[IdArray]:
    return np.split(ids, np.cumsum(lengths)[:-1])


def with_fim_tokens(structure: dict[str, Any], **flags: bool) -> dict[str, Any]:
    """A structure with the five tokens behind all others; added, and not special, as deepseek's."""
    changed = copy.deepcopy(structure)
    vocab = changed["model"]["vocab"]
    ids = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    first = max(*ids, *(token["id"] for token in changed["added_tokens"])) + 1
    names = ("special", "single_word", "lstrip", "rstrip", "normalized")
    changed["added_tokens"] += [
        {"id": first + place, "content": token, **dict.fromkeys(names, False), **flags}
        for place, token in enumerate((*FRAME, *SENTINELS))
    ]
    return changed


def fim_tokenizer(structure: dict[str, Any], folder: Path, **flags: bool) -> FimTokenizer:
    loaded = loaded_from(with_fim_tokens(structure, **flags), folder)
    return FimTokenizer(loaded=loaded, engine=choose_engine(loaded))
