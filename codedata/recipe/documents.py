"""What a split says of its documents: how they are framed, ordered, packed, and asked for.

The `recipe` of a YAML -> `DocumentRecipe`, tokens by their names; once a tokenizer was loaded,
`ResolvedRecipe`, tokens by their ids. Without a recipe a split is made in the reference mode. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as fields_of
from hashlib import sha256
from typing import Any, Literal, cast

from codedata.recipe.judging import (
    SEED,
    SHARE,
    TOKEN,
    TOKEN_OR_NONE,
    RecipeError,
    Taken,
    judged,
    mapping_of,
    one_of,
    values_of,
)

ControlTokens = Literal["drop", "text"]
Order = Literal["corpus", "shuffled"]
Packing = Literal["best_fit", "concat"]
Level = Literal["context", "document"]

AUTO = "auto"
"""In the place of three names: the tokens of the family that the tokenizer's vocabulary is of."""

FIM_ROOM = 8
"""Tokens that the permuted form of a piece may have more than the piece: three sentinels, and two
cuts within words, which add 1.3 tokens on average and 5 at most."""


FIM_TOKENS = ("prefix", "suffix", "middle")


def _fim_tokens(given: object) -> str | tuple[str, ...]:
    """`auto`, or three names in the order of `FIM_TOKENS`, of a mapping by those or a list."""
    if given == AUTO:
        return AUTO
    if isinstance(given, Mapping):
        by_name = dict(cast("Mapping[str, object]", given))
        names = [by_name.pop(name) for name in FIM_TOKENS]
        if by_name:
            raise ValueError
    else:
        names = list(cast("list[object]", given))
    found = tuple(TOKEN.value(name) for name in names)
    if isinstance(given, str) or not len(found) == len({*found}) == len(FIM_TOKENS):
        raise ValueError
    return found


_FIM_TOKENS = Taken(
    write="auto, or the names of three tokens: {prefix: ..., suffix: ..., middle: ...}",
    value=_fim_tokens,
    schema={
        "anyOf": [
            {"const": AUTO},
            {
                "type": "object",
                "properties": dict.fromkeys(FIM_TOKENS, TOKEN.schema),
                "required": [*FIM_TOKENS],
                "additionalProperties": False,
            },
        ]
    },
    words=(AUTO,),
)


@dataclass(frozen=True, kw_only=True)
class Fim:
    """Fill-in-the-middle."""

    rate: float = field(
        default=0.5, metadata=judged("the share of pieces, or documents, that are permuted", SHARE)
    )
    spm_rate: float = field(
        default=0.5, metadata=judged("of those, the share whose suffix comes first", SHARE)
    )
    level: Level = field(
        default="context",
        metadata=judged(
            "what is permuted: the pieces of documents that go into samples (context), or whole "
            "documents that fit into one (document)",
            one_of("context", "document"),
        ),
    )
    seed: int = field(default=0, metadata=judged("of the draws", SEED))
    tokens: Literal["auto"] | tuple[str, str, str] = field(
        default=AUTO,
        metadata=judged(
            "of the family that the tokenizer's vocabulary is of (auto), or three by their names",
            _FIM_TOKENS,
        ),
    )

    def as_dict(self) -> dict[str, Any]:
        """Its fields, of JSON's types; tokens that are named, by what they are for."""
        tokens = self.tokens
        named = tokens if tokens == AUTO else dict(zip(FIM_TOKENS, tokens, strict=True))
        return {**asdict(self), "tokens": named}


@dataclass(frozen=True, kw_only=True)
class DocumentRecipe:
    """How the documents of a split become samples."""

    eos: str = field(metadata=judged("the token after each document", TOKEN))
    bos: str | None = field(
        default=None,
        metadata=judged("the token before each document; null for none", TOKEN_OR_NONE),
    )
    control_tokens: ControlTokens = field(
        default="drop",
        metadata=judged(
            "what becomes of documents whose text has one of these tokens, or one of "
            "fill-in-the-middle: they are dropped and counted (drop), or tokenized as plain text, "
            "where the tokenizer can (text)",
            one_of("drop", "text"),
        ),
    )
    order: Order = field(
        default="corpus",
        metadata=judged("of the documents, within each chunk", one_of("corpus", "shuffled")),
    )
    order_seed: int = field(default=0, metadata=judged("of order: shuffled", SEED))
    packing: Packing = field(
        default="best_fit",
        metadata=judged(
            "each piece into the sample with the least room that has enough (best_fit), or one "
            "document after the other, cut every seq_length tokens (concat)",
            one_of("best_fit", "concat"),
        ),
    )
    fim: Fim | None = None

    @classmethod
    def of(cls, fields: object) -> "DocumentRecipe":
        """The recipe of a YAML's mapping, or of `as_dict`.

        Raises:
            RecipeError: naming the field that is missing, unknown or out of range, what it holds,
                and what it takes.
        """
        given = {**mapping_of(fields, _NAMES, ("recipe",))}
        fim = given.pop("fim", None)
        documents: object = given.pop("documents", None)
        framing = values_of(
            {} if documents is None else documents, SECTIONS["documents"], ("recipe", "documents")
        )
        own = values_of(given, RECIPE_FIELDS, ("recipe",))
        if fim is None:
            return cls(**framing, **own)
        made = cls(**framing, **own, fim=Fim(**values_of(fim, SECTIONS["fim"], ("recipe", "fim"))))
        made._require_own_tokens()
        return made

    def _require_own_tokens(self) -> None:
        """Refuse tokens of fill-in-the-middle that frame documents too."""
        assert self.fim is not None
        for what, name in (("eos", self.eos), ("bos", self.bos)):
            if self.fim.tokens != AUTO and name in self.fim.tokens:
                raise RecipeError(
                    f"recipe.fim.tokens has {name!r}, which is {what} of recipe.documents too; "
                    "name another token",
                    ("recipe", "fim", "tokens"),
                )

    def as_dict(self) -> dict[str, Any]:
        """The mapping of a YAML that is this recipe; of JSON's types."""
        documents = {name: getattr(self, name) for name in SECTIONS["documents"]}
        own = {name: getattr(self, name) for name in RECIPE_FIELDS}
        return {"documents": documents, **own, "fim": self.fim and self.fim.as_dict()}

    def of_chunks(self, seq_length: int) -> dict[str, Any]:
        """What decides chunks: order does not; packing and seq_length may (see `chunk_sha256`).

        Args:
            seq_length: tokens a sample.
        """
        fields = self.as_dict()
        del fields["order"], fields["order_seed"]
        if self.fim is None and self.packing == "concat":
            return fields
        return {**fields, "seq_length": seq_length}


_OF_DOCUMENTS = ("bos", "eos", "control_tokens")
_ALL = {each.name: each for each in fields_of(DocumentRecipe)}

RECIPE_FIELDS = {name: _ALL[name] for name in ("order", "order_seed", "packing")}
"""The fields of a recipe beside its sections, as a YAML has them."""

SECTIONS = {
    "documents": {name: _ALL[name] for name in _OF_DOCUMENTS},
    "fim": {each.name: each for each in fields_of(Fim)},
}
"""The fields of each section of a recipe."""

_NAMES = ("documents", *RECIPE_FIELDS, "fim")
"""In the order of pages and messages."""


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
        others: of the tokenizer's own tokens of these kinds that the recipe does not use.
    """

    recipe: DocumentRecipe
    bos: int | None
    eos: int
    fim: FimIds | None
    others: tuple[int, ...] = ()

    @property
    def used_ids(self) -> tuple[int, ...]:
        """The ids that the recipe puts between those of text, sorted."""
        fim = (self.fim.prefix, self.fim.suffix, self.fim.middle) if self.fim else ()
        framing = (self.eos,) if self.bos is None else (self.bos, self.eos)
        return tuple(sorted({*framing, *fim}))

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The ids that text may not have, sorted."""
        return tuple(sorted({*self.used_ids, *self.others}))

    def chunk_sha256(self, seq_length: int) -> str:
        """What stands for all that decides a chunk beside its text and the tokenizer.

        Where pieces are permuted, or counted into samples, that is seq_length too.
        """
        recipe = self.recipe
        decides: list[Any] = [self.bos, self.eos, recipe.control_tokens, *self.others]
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
