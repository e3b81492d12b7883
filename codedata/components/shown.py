"""Descriptions and figures -> as Dagster's UI shows them to people.

Seen in Dagster 1.13: it takes descriptions for markdown, drops what looks like HTML from there (the
`<int>` of `vector<int>`, and all of a text that begins with `<!--`), and writes integers without
separators. Those have to stay integers all the same, or nothing plots them.
"""

import re
from typing import Any

_CODE_OR_TAG = re.compile(r"(`+).+?\1|<(?=[a-zA-Z/!?])", re.DOTALL)

_LARGE = 1_000
"""From here on a number has a separator."""


def as_written(description: str) -> str:
    """A description whose `<` stays one; what is marked as code is left alone."""
    return _CODE_OR_TAG.sub(lambda found: found[0] if found[1] else r"\<", description)


def with_separators(figures: dict[str, Any]) -> dict[str, Any]:
    """Metadata whose large integers stand in front, in one text, as people write them."""
    large = [
        f"{name} {value:,}"
        for name, value in figures.items()
        if isinstance(value, int) and value >= _LARGE and not name.startswith("dagster/")
    ]
    return {"in short": "; ".join(large), **figures} if large else figures
