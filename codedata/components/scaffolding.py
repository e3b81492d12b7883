"""`dg scaffold defs`: a defs.yaml with every field of a component, its description as a comment.

What is written loads as it is, and leaves the rest of the project as it was: a split is over a
corpus that is there, with the tokenizer of another split over it. What need not be said is a
comment, with its default.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import dagster as dg
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from codedata.errors import CodedataError, SettingsError
from codedata.layout import is_name
from codedata.sources.registry import KINDS, read_source

_LINE_CHARS = 100

_FIRST_CHARS = 2_000_000
"""Of a split to begin with: seconds of work."""

_OF_TOKENIZER = ("tokenizer_asset", "tokenizer_base", "pad_token")


class YamlScaffolder(dg.Scaffolder):
    """Writes a component's YAML, named as its folder."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write it.

        Raises:
            ClickException: the folder's name names no component, or a split finds no corpus; the
                folder, which Dagster has made, is gone again.
        """
        if request.scaffold_format == "python":
            dg.scaffold_component(request)
            return
        path = request.target_path
        folder = path.parent if request.append else path
        try:
            lines = [f"type: {request.type_name}", "attributes:", *self._attributes_of(folder)]
        except CodedataError as error:
            if not request.append:
                folder.rmdir()
            raise click.ClickException(str(error)) from error
        document = "\n".join([*lines, ""])
        if request.append:
            with path.open("a", encoding="utf-8") as opened:
                opened.write(f"---\n{document}")
        else:
            (path / "defs.yaml").write_text(document, encoding="utf-8")

    def _attributes_of(self, folder: Path) -> Iterator[str]:
        if not is_name(folder.name):
            raise SettingsError(
                f"{folder.name!r} names no component; take the letters A to Z, digits and "
                "underscores alone: it names assets and folders"
            )
        return self.attributes(folder)

    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a component's fields.

        Args:
            folder: the component's, beside those of the others of its project.
        """
        raise NotImplementedError


class CorpusScaffolder(YamlScaffolder):
    """A corpus of a folder of source code."""

    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a corpus's fields."""
        from codedata.components.raw_corpus import RawCorpus  # which has this scaffolder

        of_folders = {"kind": "folders", "folders": {folder.name: "path/to/code"}}
        for name, field in RawCorpus.model_fields.items():
            if name != "source":
                yield from _field(name, field, {"name": folder.name})
                continue
            yield from _comment(field.description)
            for kind, source in KINDS.items():
                others = ", ".join(other for other in source.load().model_fields if other != "kind")
                yield from _comment(f"kind: {kind} has {others}.")
            yield "  source:"
            for inner, its_field in KINDS["folders"].load().model_fields.items():
                yield from _field(inner, its_field, of_folders, indent=4)


class TokenizerScaffolder(YamlScaffolder):
    """A tokenizer that is trained on the first corpus of its project."""

    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a tokenizer's fields."""
        from codedata.components.trained_tokenizer import TrainedTokenizer  # which has this one

        said = {"name": folder.name, "corpus": _over_corpus(folder.parent)["corpus"]}
        for name, field in TrainedTokenizer.model_fields.items():
            yield from _field(name, field, said)


class SplitScaffolder(YamlScaffolder):
    """A split over the first corpus of its project."""

    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a split's fields."""
        from codedata.components.dataset_split import DatasetSplit  # which has this scaffolder

        said = {"name": folder.name, **_over_corpus(folder.parent)}
        yield f"  # CODEDATA_{folder.name.upper()}_<SWITCH> overrides a switch for one run."
        for name, field in DatasetSplit.model_fields.items():
            yield from _field(name, field, said)


def _over_corpus(defs: Path) -> dict[str, Any]:
    """The fields by which a split takes the first characters of the first corpus in a folder."""
    found: dict[str, list[dict[str, Any]]] = {"RawCorpus": [], "DatasetSplit": []}
    for path in sorted(defs.rglob("defs.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if isinstance(document, dict):
                kind = str(document.get("type")).rpartition(".")[2]
                found.get(kind, []).append(document.get("attributes") or {})
    if not found["RawCorpus"]:
        raise SettingsError(
            f"no corpus is defined in {defs}, that a split could be made of; first "
            "`dg scaffold defs codedata.components.RawCorpus NAME`"
        )
    corpus = found["RawCorpus"][0]
    source = read_source(corpus.get("source"), f"corpus {corpus.get('name')!r}")
    alike = [split for split in found["DatasetSplit"] if split.get("corpus") == corpus["name"]]
    tokenizer = {key: alike[0][key] for key in _OF_TOKENIZER if key in alike[0]} if alike else {}
    return {
        "corpus": corpus["name"],
        **tokenizer,
        **({"files": 0} if source.num_files > 1 else {}),
        "seq_length": 512,
        "chars_to_tokenize": min(_FIRST_CHARS, source.num_chars or _FIRST_CHARS),
    }


def _field(
    name: str, field: FieldInfo, said: Mapping[str, Any], *, indent: int = 2
) -> Iterator[str]:
    """The lines of a field: what it is, and its value, as a comment where it is the default."""
    yield from _comment(field.description, indent)
    default = field.get_default(call_default_factory=True)
    value = said.get(name, None if default is PydanticUndefined else default)
    flow = {"default_flow_style": True, "allow_unicode": True, "width": 10_000}
    text = yaml.safe_dump({name: value}, **flow).strip()[1:-1]
    yield " " * indent + (text if name in said else f"# {text}")


def _comment(text: str | None, indent: int = 2) -> list[str]:
    start = f"{' ' * indent}# "
    return textwrap.wrap(
        text or "",
        _LINE_CHARS,
        initial_indent=start,
        subsequent_indent=start,
        break_on_hyphens=False,
    )
