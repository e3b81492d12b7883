"""A URL with columns in braces, and a row -> where the row's text lies.

    s3://softwareheritage/content/{blob_id}

Invariant: what a row says stays below what the URL says for all: it names neither the file system
nor the bucket, host or folder, and no way out of it. Rows are written by strangers, and requests
made with one's own rights.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

_COLUMN = re.compile(r"\{([^{}]+)\}")

_SAME_FOR_ALL = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|(?![a-z][a-z0-9+.-]*://))/*[^/{}]+/[^{}]*", re.ASCII
)
"""A scheme, where there is one, then a bucket, host or folder, and a slash."""


def is_text_url(url: str) -> bool:
    """Whether a URL names columns, and only behind a bucket, host or folder; no chain of URLs."""
    literals = _COLUMN.split(url)[::2]
    return (
        len(literals) > 1
        and _SAME_FOR_ALL.fullmatch(literals[0]) is not None
        and not any({"{", "}"} & {*literal} or "::" in literal for literal in literals)
        and url.isprintable()
    )


def columns_of(url: str) -> tuple[str, ...]:
    """The columns that a URL names."""
    return tuple(dict.fromkeys(_COLUMN.findall(url)))


def filled(url: str, values: Mapping[str, str | None], *, quoted: bool) -> str | None:
    """A URL, or a path made of one, with a row's values in the place of its columns.

    Args:
        url: with columns in braces.
        values: by column.
        quoted: whether `?`, `#`, `%` and their like in a value are to stand for themselves, as in
            an address of the web.

    Returns:
        None where a value is null or empty, leads upwards, or holds controls.
    """
    for column in _COLUMN.findall(url):
        value = values[column]
        if not value or {".", ".."} & {*value.split("/")} or min(value) < " ":
            return None
    return _COLUMN.sub(lambda found: _value(values[found[1]], quoted=quoted), url)


def _value(value: str | None, *, quoted: bool) -> str:
    assert value is not None, "looked at before"
    return quote(value) if quoted else value
