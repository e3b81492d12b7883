"""What datasets were made of -> in what they differ that one model may not learn from together.

Tokens that documents end and begin with, and are asked to be filled in by: of another `eos` in each
a model learns two ends. How often documents are permuted, how they are packed, and which are
dropped, is each dataset's own. What is on no record may be anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from codedata.format.facts import Facts
from codedata.recipe.documents import AUTO

UNKNOWN = "unknown"

MARKS = ("eos", "bos", "fim tokens")


def marks_of(facts: Facts | None) -> dict[str, str]:
    """The token of each of `MARKS`; `UNKNOWN` where nothing says it, or nothing needs it."""
    recipe: Mapping[str, Any] = (facts.recipe if facts else None) or {}
    framing, fim = recipe.get("documents", {}), recipe.get("fim", {}).get("tokens")
    return {
        "eos": framing.get("eos", UNKNOWN),
        "bos": framing.get("bos", "none") if framing else UNKNOWN,
        # The family's, `auto`, may be those that another recipe names.
        "fim tokens": UNKNOWN if fim in (None, AUTO) else " ".join(fim.values()),
    }


def differing(names: Sequence[str], what: str, values: Sequence[object]) -> list[str]:
    """Where what is known of one is not what is known of the first: `eos of a is x, of b y`."""
    known = [pair for pair in zip(names, values, strict=True) if pair[1] != UNKNOWN]
    return [
        f"{what} of {known[0][0]} is {known[0][1]}, of {name} {value}"
        for name, value in known[1:]
        if value != known[0][1]
    ]
