"""`dg scaffold defs`: a defs.yaml with every field of a component, its description as a comment.

What is written loads as it is, and leaves the rest of the project as it was: a split is over a
corpus that is there, with the tokenizer of the other splits over it, and held out from them where
they leave it text. What need not be said is a comment, with its default.
"""

import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import dagster as dg
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from codedata.errors import CodedataError, SettingsError
from codedata.layout import NAME_REMEDY, Layout, is_name
from codedata.recipe.settings import ALL, SWITCHES
from codedata.run.checks import KNOWN_REPO
from codedata.sources.record import RECORD_NAME, read_corpus
from codedata.sources.registry import KINDS, read_source
from codedata.store import state

_LINE_CHARS = 100

_FIRST_CHARS = 2_000_000
"""Of a split to begin with: seconds of work."""

_OF_OTHERS = ("tokenizer_asset", "tokenizer_base", "pad_token", "min_sample_length")
"""What a split has of the first of the others over its corpus."""

_WINDOW = ("starting_character", "chars_to_tokenize")


class YamlScaffolder(dg.Scaffolder, ABC):
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
                f"{folder.name!r} names no component; take {NAME_REMEDY}: it "
                "names assets and folders"
            )
        return self.attributes(folder)

    @abstractmethod
    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a component's fields.

        Args:
            folder: the component's, beside those of the others of its project.
        """


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

        said = {"name": folder.name, "corpus": _corpus_and_splits(folder.parent)[0]["name"]}
        for name, field in TrainedTokenizer.model_fields.items():
            yield from _field(name, field, said)


class SplitScaffolder(YamlScaffolder):
    """A split over the first corpus of its project, after the others over it."""

    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a split's fields."""
        from codedata.components.dataset_split import DatasetSplit  # which has this scaffolder

        corpus, others = _corpus_and_splits(folder.parent)
        of_others = (
            {key: others[0][key] for key in _OF_OTHERS if key in others[0]} if others else {}
        )
        window, remark = _window_after(corpus, others)
        said = {"name": folder.name, "corpus": corpus["name"], **of_others, "seq_length": 512}
        said |= window
        yield f"  # CODEDATA_{folder.name.upper()}_<SWITCH> overrides a switch for one run."
        for name, field in DatasetSplit.model_fields.items():
            if name == "starting_character":
                yield from _comment(remark)
            yield from _field(name, field, said)


class MixtureScaffolder(YamlScaffolder):
    """A mixture of the splits of its project."""

    def attributes(self, folder: Path) -> Iterator[str]:
        """The lines of a mixture's fields."""
        from codedata.components.mixture import Mixture, SourceOfMixture  # which has this one

        splits = [each for each in _defined(folder.parent)["DatasetSplit"] if each.get("name")]
        if not splits:
            raise SettingsError(
                f"no split is defined in {folder.parent}, that could be mixed; first "
                "`dg scaffold defs codedata.components.DatasetSplit NAME`"
            )
        has_others = any(not each.get("held_out_from") for each in splits)
        for name, field in Mixture.model_fields.items():
            if name != "sources":
                yield from _field(name, field, {"name": folder.name})
                continue
            yield from _comment(f"{field.description} A comment are those that are held out.")
            for inner, its_field in SourceOfMixture.model_fields.items():
                yield from _comment(f"{inner}: {its_field.description}")
            yield "  sources:"
            for split in splits:
                sign = "# " if has_others and split.get("held_out_from") else ""
                yield f"    {sign}- {{dataset: {split['name']}, weight: 1, max_epochs: 1}}"


def _defined(defs: Path) -> dict[str, list[dict[str, Any]]]:
    """The fields of each corpus and split in a folder."""
    found: dict[str, list[dict[str, Any]]] = {"RawCorpus": [], "DatasetSplit": []}
    for path in sorted(defs.rglob("defs.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if isinstance(document, dict):
                kind = str(document.get("type")).rpartition(".")[2]
                found.get(kind, []).append(document.get("attributes") or {})
    return found


def _corpus_and_splits(defs: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The fields of the first corpus in a folder, and those of each split over it."""
    found = _defined(defs)
    if not found["RawCorpus"]:
        raise SettingsError(
            f"no corpus is defined in {defs}, that a split could be made of; first "
            "`dg scaffold defs codedata.components.RawCorpus NAME`"
        )
    corpus = found["RawCorpus"][0]
    over_it = [_over(corpus["name"], split) for split in found["DatasetSplit"] if "name" in split]
    return corpus, [split for split in over_it if split is not None]


def _over(corpus: str, split: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields of a split as if it were over one of its corpora alone; None over others."""
    if split.get("corpus") == corpus:
        return {**split}
    for each in split.get("corpora") or ():
        if each.get("name") == corpus:
            said = {"files": each.get("files"), "chars_to_tokenize": each.get("chars")}
            return {**split, **{name: value for name, value in said.items() if value is not None}}
    return None


def _window_after(
    corpus: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], str]:
    """The fields of a window that shares no text with other splits, and what is to be said of it.

    Where they leave no text, it is the first, which is theirs too.
    """
    source = read_source(corpus.get("source"), f"corpus {corpus['name']!r}")
    has_files = source.num_files > 1
    layout = Layout.from_environment()
    folder = layout.corpus(corpus["name"], 0 if has_files else None)
    state.pull(layout, folder / RECORD_NAME)
    num_chars = source.num_chars
    if num_chars is None and (folder / RECORD_NAME).exists():
        num_chars = read_corpus(folder).num_chars
    before = [split for split in others if not has_files or _takes_first_file(split)]
    names = [split["name"] for split in before]
    # The kind of the hub has a repository; what a split leaves out is all of any but The Stack.
    is_reference = getattr(source, "repo", None) == KNOWN_REPO
    ends = [_end_of(split if is_reference else {_WINDOW[1]: ALL, **split}) for split in before]
    start = max((end for end in ends if end is not None), default=0)
    left = None if num_chars is None else num_chars - start
    window: dict[str, Any] = {"files": 0} if has_files else {}
    if None in ends or (left is not None and left <= 0 < start):
        window["chars_to_tokenize"] = min(_FIRST_CHARS, num_chars or _FIRST_CHARS)
        return window, (
            f"No text of {corpus['name']} is known to be left by {', '.join(names)}: this split "
            "has characters of theirs. End one of them earlier, begin here where it ends, and add "
            f"held_out_from: [{', '.join(names)}]."
        )
    if start:
        window |= {"held_out_from": names, "starting_character": start}
    window["chars_to_tokenize"] = min(_FIRST_CHARS, left or _FIRST_CHARS)
    if start and left is None:
        return window, f"Whether {corpus['name']} has text here is known once it is materialized."
    return window, ""


def _takes_first_file(split: Mapping[str, Any]) -> bool:
    from codedata.components.split_files import file_numbers  # which has the corpus

    files = split.get("files", ALL)
    return files == ALL or 0 in file_numbers(f"split {split['name']!r}", files)


def _end_of(split: Mapping[str, Any]) -> int | None:
    """Where a split's window ends; None where its YAML has a template or all, and no number."""
    fields = [split.get(name, SWITCHES[name].default) for name in _WINDOW]
    numbers = [field for field in fields if isinstance(field, int)]
    return sum(numbers) if len(numbers) == len(fields) else None


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
