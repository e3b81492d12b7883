"""A report -> one HTML file that needs nothing else: no script, no font, no address of anywhere.

Tokens and documents are hostile input: the template engine escapes every value, what cannot be
printed is replaced, and the page's own policy lets no script run and nothing be fetched.
The same report gives the same bytes.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from codedata.printable import percent, printable, printable_lines
from codedata.reporting.pictures import Svg, as_html

if TYPE_CHECKING:
    from codedata.reporting.split_report import Report

_MOST_ROWS = 20
"""Chunks and twins that are listed; a figure says how many there are."""


def render(report: "Report") -> bytes:
    """The page, as UTF-8."""
    environment = Environment(
        loader=PackageLoader("codedata.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "lines": printable_lines,
        "printable": printable,
        "count": "{:,}".format,
        "percent": percent,
    }
    numbers = iter(range(1_000_000))

    def picture(title: str, svg: Svg) -> Markup:
        return Markup(as_html(svg, title, next(numbers)))  # noqa: S704  # drawn here, of numbers

    page = environment.get_template("report.html.jinja").render(
        report=report,
        picture=picture,
        most_rows=_MOST_ROWS,
        version=version("codedata"),
    )
    return page.encode("utf-8", "replace")
