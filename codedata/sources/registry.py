"""What a YAML says of a source -> that source, by its `kind`.

The kinds are those of the package, and those that installed packages have as entry points of the
group `codedata.sources`, name and class. Of all of them only the one that a YAML names is imported.
What does not fit is refused in one line that has what would.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from codedata.errors import CorpusError
from codedata.printable import did_you_mean, shortened
from codedata.sources.base import Source

ENTRY_POINTS = "codedata.sources"

KINDS = {
    kind: EntryPoint(kind, place, ENTRY_POINTS)
    for kind, place in {
        "hub": "codedata.hub.source:HubSource",
        "local": "codedata.sources.kinds.local:LocalSource",
        "folders": "codedata.sources.kinds.folders:FoldersSource",
        "git": "codedata.sources.kinds.git:GitSource",
        "url": "codedata.sources.kinds.url:UrlSource",
    }.items()
}
"""The package's own, in the order in which messages and pages name the kinds."""


def read_source(attributes: object, of: str) -> Source:
    """The source that a YAML describes.

    Args:
        attributes: `kind`, and the fields of that kind.
        of: whose it is, for messages.

    Raises:
        CorpusError: there is no such kind, or it has no such field, or a value is none that it
            takes.
    """
    if not isinstance(attributes, Mapping):
        raise CorpusError(
            f"source of {of} is {shortened(repr(attributes))}; write a kind and the fields of that "
            f"kind: {_there_are('', [*KINDS])}"
        )
    kind = str(attributes.get("kind", ""))
    model: type[Source] = _entry_point(kind, of).load()
    try:
        return model.model_validate(dict(attributes))
    except ValidationError as error:
        fields = fields_of(model)
        wrong = dict.fromkeys(
            what_is_wrong(detail, str(detail["loc"][0]) if detail["loc"] else "it", fields)
            for detail in error.errors()
        )
        raise CorpusError(f"source of {of} (kind: {kind}): {'; '.join(wrong)}") from error


def fields_of(model: type[BaseModel]) -> list[str]:
    """The fields of a model, its own before those that it has in common with others; no kind."""
    own = [name for name in model.__annotations__ if name in model.model_fields]
    return [name for name in dict.fromkeys([*own, *model.model_fields]) if name != "kind"]


def _entry_point(kind: str, of: str) -> EntryPoint:
    if kind in KINDS:
        return KINDS[kind]
    installed = {each.name: each for each in entry_points(group=ENTRY_POINTS)}
    if kind not in installed:
        found = f"is of kind {shortened(kind)!r}" if kind else "has no kind"
        kinds = [*KINDS, *sorted(installed)]
        raise CorpusError(f"source of {of} {found}; {_there_are(kind, kinds)}")
    return installed[kind]


def what_is_wrong(detail: ErrorDetails, field: str, fields: Sequence[str]) -> str:
    """What is wrong with a field of a YAML.

    Args:
        detail: what pydantic found.
        field: its name.
        fields: those that there are.
    """
    match detail["type"]:
        case "extra_forbidden":
            return f"there is no field {field!r}; {_there_are(field, fields)}"
        case "missing":
            return f"{field} is missing; add it"
        case "value_error":  # of a source's own, which names the field
            return str(detail.get("ctx", {})["error"])
        case _:
            found = shortened(repr(detail["input"]))
            return f"{field} is {found}: {detail['msg']}; correct its defs.yaml"


def _there_are(name: str, known: Sequence[str]) -> str:
    """Which names there are, and the one that was probably meant."""
    return f"{did_you_mean(name, known)} there are {', '.join(known)}".lstrip()
