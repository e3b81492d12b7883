"""What ids of a chunk and bytes of a dataset depend on: what is equal here is equal there."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, cast

from codedata.format.ranges import CharRange

CODE_VERSION = 1
"""Raised whenever a change of this package changes the ids of some text."""

_SHARDS_VERSION = 1
"""Raised whenever a change of this package gives the shards or the meta of some ids other bytes."""

_DIGITS = 32
"""Of a sha256, in names: 128 bits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkFingerprint:
    """Everything that decides the ids of one chunk.

    Attributes:
        corpus_sha256: of the parquet's bytes.
        tokenizer_sha256: fingerprint of the tokenizer's files.
        chars: the chunk's characters.
        code_version: `CODE_VERSION` of the code that made the ids.
        recipe_sha256: of what else decides a chunk of documents: the recipe's part of it, and what
            is said of where they are from; None in the reference mode.
    """

    corpus_sha256: str
    tokenizer_sha256: str
    chars: CharRange
    code_version: int = CODE_VERSION
    recipe_sha256: str | None = None

    @property
    def digest(self) -> str:
        """32 digits that stand for it in names."""
        decides = [self.corpus_sha256, self.tokenizer_sha256, self.code_version, *self.chars]
        if self.recipe_sha256 is not None:
            decides.append(self.recipe_sha256)
        return sha256(json.dumps(decides).encode()).hexdigest()[:_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """It as JSON has it; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ChunkFingerprint":
        """The inverse of `as_dict`, after a round through JSON."""
        others = {name: value for name, value in fields.items() if name != "chars"}
        return cls(chars=CharRange(*cast("list[int]", fields["chars"])), **others)


def version_digest(
    chunks: Iterable[tuple[ChunkFingerprint, str, int]],
    *,
    seq_length: int,
    min_sample_length: int,
    max_dump_size: int,
    pad_id: int,
    documents: Sequence[Any] | None = None,
) -> str:
    """32 digits that stand for a dataset's shards and meta before anything is packed.

    What a chunk should hold does not decide them, since it may be found wrong later; what it holds
    does.

    Args:
        chunks: that it is packed from, in order: the fingerprint of each, the sha256 of its ids,
            and how many they are.
        seq_length: tokens a sample.
        min_sample_length: a rest of so many tokens or fewer is dropped.
        max_dump_size: samples a shard.
        pad_id: what fills up the last sample of a chunk.
        documents: what else decides where documents lie, and the bytes that say so; JSON's types.
    """
    switches: list[Any] = [_SHARDS_VERSION, seq_length, min_sample_length, max_dump_size, pad_id]
    if documents is not None:
        switches.append([*documents])
    decides = sha256(json.dumps(switches).encode())
    for fingerprint, ids_sha256, num_tokens in chunks:
        decides.update(json.dumps([fingerprint.digest, ids_sha256, num_tokens]).encode())
    return decides.hexdigest()[:_DIGITS]
