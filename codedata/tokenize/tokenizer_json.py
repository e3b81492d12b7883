"""The bytes of a tokenizer.json -> its structure, parsed as far as somebody looks at it.

Merges are four fifths of a large file, and half a million lists once they are parsed, while most
engines go without them: they are kept as they stand in the file until one asks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from msgspec import DecodeError, Raw
from msgspec.json import decode, encode

_Parts = dict[str, Raw]


class Merges(Sequence[Any]):
    """The merges of a model, as declared, parsed once one is asked for; `list` makes a list.

    Args:
        raw: a JSON array.
    """

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    @cached_property
    def _parsed(self) -> list[Any]:
        return decode(self._raw)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        return self._parsed[place]

    def __len__(self) -> int:
        return len(self._parsed)


def parse_structure(data: bytes) -> Any:
    """The parsed tokenizer.json, with `Merges` in its model.

    Raises:
        ValueError: it is not JSON; the message has the line and column.
        RecursionError: it is nested too deep.
    """
    try:
        parts = decode(data, type=_Parts)
        return {
            name: _parse_model(part) if name == "model" else decode(part)
            for name, part in parts.items()
        }
    except (DecodeError, RecursionError):
        return json.loads(data)  # says what is wrong; what it takes beyond JSON others judge


def _parse_model(model: Raw) -> Any:
    if not _begins(model, b"{"):
        return decode(model)
    fields = decode(model, type=_Parts)
    return {
        name: Merges(field) if name == "merges" and _begins(field, b"[") else decode(field)
        for name, field in fields.items()
    }


def _begins(part: Raw, with_: bytes) -> bool:
    return bytes(memoryview(part)[:1]) == with_


def without_parts(data: bytes, unwanted: Iterable[str]) -> bytes:
    """A tokenizer.json that declares null for some of its parts."""
    return with_parts(data, dict.fromkeys(unwanted))


def with_parts(data: bytes, parts: Mapping[str, Any]) -> bytes:
    """A tokenizer.json that declares something else for some of its parts."""
    return encode({**decode(data, type=_Parts), **parts})
