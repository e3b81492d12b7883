"""docs/howto/troubleshooting.md: each message that it explains is one of the source."""

import ast
import re
from collections.abc import Iterator

import pytest

from codedata_tests.howto_pages import PAGES, ROOT

PAGE = (PAGES / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE)
VALUE = "…"


def texts_of(node: ast.AST) -> Iterator[str]:
    """Every string of a syntax tree but docstrings, `…` for each value that is put into one."""
    for field, each in ((f, v) for f, value in ast.iter_fields(node) for v in as_list(f, value)):
        if isinstance(each, ast.Expr) and field == "body" and isinstance(each.value, ast.Constant):
            continue
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value
        elif isinstance(each, ast.JoinedStr):
            parts = [
                part.value if isinstance(part, ast.Constant) else VALUE for part in each.values
            ]
            yield "".join(map(str, parts))
            for part in each.values:
                if isinstance(part, ast.FormattedValue):
                    yield from texts_of(ast.Expr(part.value))
        elif isinstance(each, ast.AST):
            yield from texts_of(each)


def as_list(field: str, value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


MESSAGES = [
    text
    for path in sorted((ROOT / "codedata").rglob("*.py"))
    for text in texts_of(ast.parse(path.read_text(encoding="utf-8")))
]


def says(message: str, quoted: str) -> bool:
    """Whether a message holds a quoted part; a value of the part at its end may be cut off."""
    return quoted.strip(f"{VALUE} ") in message


def test_the_page_explains_many_messages_each_once() -> None:
    assert len(QUOTED) == len(set(QUOTED)) >= 15
    assert len(QUOTED) == len(re.findall(r"^###", PAGE, re.MULTILINE))
    assert len(MESSAGES) > 1000


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_message_of_the_page_is_one_of_the_source(quoted: str) -> None:
    assert any(says(message, quoted) for message in MESSAGES)
    assert len(quoted.strip(f"{VALUE} ")) >= 15, "long enough to be recognised"
