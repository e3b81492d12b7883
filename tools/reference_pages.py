"""The package -> the pages of the reference that are made from it.

    python tools/reference_pages.py

writes docs/reference/commands.md from the command lines' own help, and components.md from the
components' schema: what a YAML may have, of which type, by default what, and what it means.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from codedata import cli, tokenize_data
from codedata.components import DatasetSplit, RawCorpus, TrainedTokenizer
from codedata.sources.registry import KINDS

FOLDER = Path(__file__).parent.parent / "docs" / "reference"


def main() -> None:
    """Write both pages."""
    os.environ["COLUMNS"] = "88"  # argparse wraps its help at it
    (FOLDER / "commands.md").write_text(commands_page(), encoding="utf-8")
    (FOLDER / "components.md").write_text(components_page(), encoding="utf-8")


def commands_page() -> str:
    """The help of `codedata`, of each of its commands and of the script."""
    commands = {parser.prog: parser for parser in _parsers(cli.build_parser())}
    script = tokenize_data.build_parser()
    script.prog = "python -m codedata.tokenize_data"
    sections = [
        f"## {title}\n\n```text\n{parser.format_help().rstrip()}\n```\n"
        for title, parser in {**commands, "The script": script}.items()
    ]
    return "\n".join(["# Commands\n", *sections])


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:  # noqa: SLF001  (argparse has no public list of commands)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            yield from action.choices.values()


def components_page() -> str:
    """What the YAML of each component may have."""
    where = "Each is one YAML, `codedata/defs/<name>/defs.yaml`, with `type` and `attributes`."
    parts = ["# Components\n", f"{where} Other names are refused when the code location loads.\n"]
    for component in (RawCorpus, TrainedTokenizer, DatasetSplit):
        parts += [f"## {component.__name__}\n", f"`type: codedata.components.{component.__name__}`"]
        parts += [f"\n{_summary(component)}\n", _table(component)]
        if component is RawCorpus:
            for kind, load in KINDS.items():
                source = load()
                parts += [f"### source, `kind: {kind}`\n", f"{_summary(source)}\n", _table(source)]
    return "\n".join(parts)


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _table(model: type[BaseModel]) -> str:
    rows = ["| attribute | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name == "kind":  # the heading has it
            continue
        cells = (f"`{name}`", _type(field), _default(field), field.description or "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _type(field: FieldInfo) -> str:
    if field.annotation is Any:  # the source
        return "see below"
    annotation: Any = field.annotation
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return " or ".join(f"`{each}`" for each in text.replace("collections.abc.", "").split(" | "))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value is None else f"`{value!r}`"


if __name__ == "__main__":
    main()
