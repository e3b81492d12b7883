"""What a split says of its documents: how they are framed, ordered, packed, and asked for.

The `recipe` of a YAML -> `DocumentRecipe`, tokens by their names; once a tokenizer was loaded,
`ResolvedRecipe`, tokens by their ids. Without a recipe a split is made in the reference mode. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, cast

from codedata.errors import SettingsError

ControlTokens = Literal["drop", "text"]
Order = Literal["corpus", "shuffled"]
Packing = Literal["best_fit", "concat"]
Level = Literal["context", "document"]

AUTO = "auto"
"""In the place of three names: the tokens of the family that the tokenizer's vocabulary is of."""

FIM_ROOM = 8
"""Tokens that the permuted form of a piece may have more than the piece: three sentinels, and two
cuts within words, which add 1.3 tokens on average and 5 at most."""


@dataclass(frozen=True, kw_only=True)
class Fim:
    """Fill-in-the-middle.

    Attributes:
        rate: share of pieces (or documents) that are permuted.
        spm_rate: of those, the share whose suffix comes first.
        level: what is permuted: the pieces of documents that go into samples, or whole documents
            that fit into one.
        seed: of the draws.
        tokens: names of the prefix, suffix and middle tokens, or `auto`.
    """

    rate: float = 0.5
    spm_rate: float = 0.5
    level: Level = "context"
    seed: int = 0
    tokens: Literal["auto"] | tuple[str, str, str] = AUTO


@dataclass(frozen=True, kw_only=True)
class DocumentRecipe:
    """How the documents of a split become samples.

    Attributes:
        eos: name of the token after each document.
        bos: of the one before each; None for none.
        control_tokens: what becomes of documents whose text has one of those tokens, or one of
            fill-in-the-middle: they are dropped and counted, or tokenized as plain text, where the
            tokenizer can.
        order: of the documents of a chunk.
        order_seed: of `shuffled`.
        packing: best fit, or one document after the other, cut every seq_length tokens.
        fim: None for none.
    """

    eos: str
    bos: str | None = None
    control_tokens: ControlTokens = "drop"
    order: Order = "corpus"
    order_seed: int = 0
    packing: Packing = "best_fit"
    fim: Fim | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "DocumentRecipe":
        """The recipe of a YAML's mapping, or of `as_dict`.

        Raises:
            SettingsError: naming the field that is missing, unknown or out of range.
        """
        documents = dict(cast("Mapping[str, Any]", fields.get("documents") or {}))
        if not documents.get("eos"):
            raise SettingsError("recipe.documents.eos is missing; name the token after documents")
        fim = cast("Mapping[str, Any] | None", fields.get("fim"))
        others = {
            name: fields[name] for name in ("order", "order_seed", "packing") if name in fields
        }
        return cls(**documents, **others, fim=None if fim is None else Fim(**fim))

    def as_dict(self) -> dict[str, Any]:
        """The mapping of a YAML that is this recipe; of JSON's types."""
        fields = asdict(self)
        documents = {name: fields.pop(name) for name in ("bos", "eos", "control_tokens")}
        return {"documents": documents, **fields}


@dataclass(frozen=True, kw_only=True)
class FimIds:
    """The ids of the three tokens of fill-in-the-middle."""

    prefix: int
    suffix: int
    middle: int


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe:
    """A recipe and the ids of its tokens.

    Attributes:
        recipe: as the user wrote it.
        bos: id of the token before each document; None for none.
        eos: of the one after each.
        fim: None for none.
    """

    recipe: DocumentRecipe
    bos: int | None
    eos: int
    fim: FimIds | None

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The ids that text may not have, sorted."""
        fim = (self.fim.prefix, self.fim.suffix, self.fim.middle) if self.fim else ()
        framing = (self.eos,) if self.bos is None else (self.bos, self.eos)
        return tuple(sorted({*framing, *fim}))

    def chunk_sha256(self, seq_length: int) -> str:
        """What stands for all that decides a chunk beside its text and the tokenizer.

        Where pieces are permuted, or counted into samples, that is seq_length too.
        """
        recipe = self.recipe
        decides: list[Any] = [self.bos, self.eos, recipe.control_tokens]
        if recipe.fim is not None:
            assert self.fim is not None
            of_fim = {**asdict(recipe.fim), **asdict(self.fim)}
            decides.append({**of_fim, "tokens": None})
        if recipe.fim is not None or recipe.packing == "best_fit":
            decides += [recipe.packing, seq_length]
        return sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def packing_facts(self) -> list[Any]:
        """What decides how a chunk is packed, beside the switches; of JSON's types."""
        return [self.recipe.packing, self.recipe.order, self.recipe.order_seed]
