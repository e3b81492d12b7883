"""The package -> the pages of the reference that are made from it.

    python tools/reference_pages.py

writes docs/reference/commands.md from the command lines' own parsers, and components.md from the
components' schema: what a YAML may have, of which type, by default what, and what it means. Both
are committed, for those who read them on GitHub; the tests say when they are to be made again.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from codedata import cli, tokenize_data
from codedata.components import DatasetSplit, Mixture, RawCorpus, TrainedTokenizer
from codedata.components.mixture import SourceOfMixture
from codedata.components.split_files import CorpusOfSplit
from codedata.components.split_partitions import Backfill
from codedata.recipe.documents import RECIPE_FIELDS, SECTIONS, DocumentRecipe
from codedata.recipe.judging import taken_by
from codedata.sources.contents import Content
from codedata.sources.registry import KINDS, fields_of

FOLDER = Path(__file__).parent.parent / "docs" / "reference"

_MADE = "<!-- Made by tools/reference_pages.py; edit the code. -->\n"

_OF_THE_MACHINE = {"num_workers": "one a core"}
"""Defaults that are another number on each machine."""


def main() -> None:
    """Write both pages."""
    (FOLDER / "commands.md").write_text(commands_page(), encoding="utf-8")
    (FOLDER / "components.md").write_text(components_page(), encoding="utf-8")


def commands_page() -> str:
    """What `codedata`, each of its commands and the script take."""
    parser = cli.build_parser()
    parts = [_MADE, "# Commands\n", f"{parser.description}\n"]
    if parser.epilog:
        parts.append(f"```text\n{parser.epilog.rstrip()}\n```\n")
    parts += [arguments] if (arguments := _arguments(parser)) else []
    for command, summary in _commands(parser):
        parts += [f"## {command.prog}\n", f"{_sentence(summary)}\n", _arguments(command)]
    script = tokenize_data.build_parser()
    does = f"`python -m codedata.tokenize_data`. {script.description}\n"
    parts += ["## The script\n", does, _arguments(script)]
    return "\n".join(parts)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    for action in parser._actions:  # noqa: SLF001  (argparse has no public list of commands)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            help_of = {each.dest: each.help for each in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield command, command.description or help_of.get(name) or ""


def _arguments(parser: argparse.ArgumentParser) -> str:
    others = (argparse._HelpAction, argparse._SubParsersAction)  # noqa: SLF001
    rows: list[str] = []
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, others) or action.help == argparse.SUPPRESS:
            continue
        value = f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.metavar
        names = " ".join([", ".join(action.option_strings), str(value or action.dest.upper())])
        if action.nargs == 0:
            names = ", ".join(action.option_strings)
        elif action.nargs in ("+", "*"):
            names += " ..."
        meaning = (action.help or "") % {**vars(action), "prog": parser.prog}
        cells = (f"`{names.strip()}`", _default_of(action), _sentence(meaning))
        rows.append("| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |\n")
    return "".join(["| argument | default | meaning |\n|---|---|---|\n", *rows] if rows else [])


def _default_of(action: argparse.Action) -> str:
    if action.dest in _OF_THE_MACHINE:
        return _OF_THE_MACHINE[action.dest]
    if action.required:
        return "required"
    is_none = action.nargs == 0 or action.default in (None, argparse.SUPPRESS, [])
    return "" if is_none else f"`{action.default}`"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def components_page() -> str:
    """What the YAML of each component may have."""
    project = "[project](../howto/own-project.md)"
    where = (
        f"Each is one YAML, `mine/defs/NAME/defs.yaml` in a {project} `mine`, in the clone itself "
        "`codedata/defs/NAME/defs.yaml`, with `type` and `attributes`."
    )
    parts = [
        _MADE,
        "# Components\n",
        f"{where} Other names are refused when the code location loads.\n",
    ]
    for component in (RawCorpus, TrainedTokenizer, DatasetSplit, Mixture):
        parts += [f"## {component.__name__}\n", f"`type: codedata.components.{component.__name__}`"]
        parts += [f"\n{_summary(component)}\n", _table(component)]
        if component is RawCorpus:
            for kind, point in KINDS.items():
                source = point.load()
                parts += [f"### source, `kind: {kind}`\n", f"{_summary(source)}\n", _table(source)]
            parts += ["### content, of a source\n", f"{_summary(Content)}\n", _table(Content)]
        if component is DatasetSplit:
            of_one = f"{_summary(CorpusOfSplit)}\n"
            parts += ["### corpora, each of the list\n", of_one, _table(CorpusOfSplit)]
            parts += ["### backfill\n", f"{_summary(Backfill)}\n", _table(Backfill)]
            parts += _recipe()
        if component is Mixture:
            of_one = f"{_summary(SourceOfMixture)}\n"
            parts += ["### sources, each of the list\n", of_one, _table(SourceOfMixture)]
    return "\n".join(parts)


def _recipe() -> Iterator[str]:
    """The tables of a split's recipe, which is no model of pydantic."""
    how = "[When to use what](../howto/documents.md)"
    yield f"### recipe\n\n{_summary(DocumentRecipe)} {how}.\n"
    documents = ("`documents`", "see below", "required", "How they are marked.")
    fim = ("`fim`", "see below, or null", "`null`", "Fill-in-the-middle; null for none.")
    yield _rows([documents, *_cells(RECIPE_FIELDS), fim])
    for section, known in SECTIONS.items():
        yield f"### {section}, of a recipe\n"
        yield _rows(_cells(known))


def _cells(known: Mapping[str, Field[Any]]) -> Iterator[tuple[str, ...]]:
    """What each field of a recipe takes, its default, and what it is."""
    for name, field in known.items():
        is_required = field.default is MISSING
        default = "required" if is_required else f"`{json.dumps(field.default)}`"
        yield f"`{name}`", taken_by(field).write, default, _sentence(field.metadata["help"])


def _rows(cells: Iterable[tuple[str, ...]]) -> str:
    rows = (f"| {' | '.join(each)} |" for each in cells)
    return (
        "\n".join(["| attribute | takes | default | meaning |", "|---|---|---|---|", *rows]) + "\n"
    )


def _summary(model: type[Any]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _table(model: type[BaseModel]) -> str:
    rows = ["| attribute | type | default | meaning |", "|---|---|---|---|"]
    for name in fields_of(model):
        field = model.model_fields[name]
        cells = (f"`{name}`", _type(field), _default(field), field.description or "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _type(field: FieldInfo) -> str:
    if field.annotation is Any:  # a source, a recipe
        return "see below"
    return " or ".join(f"`{each}`" for each in _types(field.annotation))


def _types(annotation: Any) -> Iterator[str]:
    """What a field may be, one after another; of those with a check, what is checked."""
    of, within = get_origin(annotation), get_args(annotation)
    if of is Annotated:
        yield from _types(within[0])
    elif of in (Union, UnionType):
        for each in within:
            yield from _types(each)
    elif of is Literal:
        yield from map(str, within)
    elif annotation is NoneType:
        yield "None"
    elif isinstance(annotation, type) and of is None:
        yield annotation.__name__
    elif of is list and isinstance(within[0], type) and issubclass(within[0], BaseModel):
        yield f"list[{within[0].__name__}]"
    else:
        yield str(annotation).replace("typing.", "").replace("collections.abc.", "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "" if value is None else f"`{value!r}`"


if __name__ == "__main__":
    main()
