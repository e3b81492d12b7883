"""What the ids of a chunk depend on: equal fingerprints mean equal ids."""

from dataclasses import dataclass
from typing import Any, cast

from codedata.format.ranges import CharRange

CODE_VERSION = 1
"""Raised whenever a change of this package changes the ids of some text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkFingerprint:
    """Everything that decides the ids of one chunk.

    Attributes:
        corpus_sha256: of the parquet's bytes.
        tokenizer_sha256: fingerprint of the tokenizer's files.
        chars: the chunk's characters.
        code_version: `CODE_VERSION` of the code that made the ids.
    """

    corpus_sha256: str
    tokenizer_sha256: str
    chars: CharRange
    code_version: int = CODE_VERSION

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ChunkFingerprint":
        """The inverse of `asdict`, after a round through JSON."""
        others = {name: value for name, value in fields.items() if name != "chars"}
        return cls(chars=CharRange(*cast("list[int]", fields["chars"])), **others)
