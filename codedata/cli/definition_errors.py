"""What Dagster says of definitions that cannot be made -> the one line that a user can act on."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from yaml import MarkedYAMLError

from codedata.errors import CodedataError, SettingsError
from codedata.printable import did_you_mean, shortened
from codedata.sources.registry import what_is_wrong

if TYPE_CHECKING:
    import dagster as dg

_YAML_NAMES = ("defs.yaml", "component.yaml")
"""What Dagster reads of a folder; the second is the older name."""


def require_all_defined(defs: "dg.Definitions") -> None:
    """Refuse a split or a tokenizer over a corpus or a tokenizer that no definition makes.

    Raises:
        SettingsError: naming it, what it needs, and where its YAML says so.
    """
    # Loaded with the definitions, where they have any of ours.
    from codedata.components import DatasetSplit, Mixture, TrainedTokenizer

    graph = defs.resolve_asset_graph()
    defined = graph.get_all_asset_keys() - graph.unexecutable_asset_keys
    for key in sorted(graph.unexecutable_asset_keys):
        made = [each.path[0] for each in sorted(defined) if each.path[1:] == key.path[1:]]
        for child in sorted(graph.get(key).child_keys):
            owner = _component_of(graph.get(child).metadata)
            if isinstance(owner, Mixture):
                of = next(i for i, e in enumerate(owner.sources) if [e.dataset] == [*key.path[:1]])
                with owner.about("sources", of, "dataset"):
                    raise _undefined(f"mixture {owner.name!r}", key, made, "sources")
            if isinstance(owner, DatasetSplit | TrainedTokenizer):
                what = "split" if isinstance(owner, DatasetSplit) else "tokenizer"
                needs: dict[tuple[str | int, ...], list[str | None]] = {
                    ("corpus",): [owner.corpus, "raw_parquet"],
                    ("tokenizer_asset",): [getattr(owner, "tokenizer_asset", None)],
                }
                for place, each in enumerate(getattr(owner, "corpora", None) or ()):
                    needs["corpora", place, "name"] = [each.name, "raw_parquet"]
                for field, path in needs.items():
                    if [*key.path] == path:
                        with owner.about(*field):
                            raise _undefined(f"{what} {owner.name!r}", key, made)
            elif child.path[1:] == ["token_chunks"]:
                raise _undefined(f"split {child.path[0]!r}", key, made)


def _component_of(metadata: Any) -> object:
    """The component of a YAML that an asset is of."""
    return getattr(metadata.get("dagster/component_origin"), "instance", None)


def _undefined(
    what: str, key: "dg.AssetKey", made: list[str], fields: str = "corpus or tokenizer_asset"
) -> SettingsError:
    meant = f" {near}" if (near := did_you_mean(key.path[0], made)) else ""
    return SettingsError(
        f"{what} needs the asset {key.to_user_string()!r}, which nothing defines;{meant} correct "
        f"{fields} in its defs.yaml, or add the one it names"
    )


def user_error(error: BaseException | None) -> CodedataError | None:
    """What a user can mend: our own error among the causes, or a YAML that Dagster refuses."""
    raised = error
    while error is not None:
        if isinstance(error, CodedataError):
            return error
        if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
            return SettingsError(f"{mark.name}:{mark.line + 1}: {error.problem}; correct the YAML")
        if isinstance(error, ValidationError) and (wrong := [*_wrong_fields(error)]):
            return SettingsError("; ".join(dict.fromkeys(wrong)))
        error = error.__cause__
    return _wrong_component(raised)


def _wrong_fields(error: ValidationError) -> Iterator[str]:
    """What Dagster finds wrong with the fields of a YAML, as far as it knows where they are."""
    from dagster.components.core.defs_module import ComponentFileModel

    is_of_file = error.title == ComponentFileModel.__name__
    for detail in error.errors():
        if (where := detail.get("ctx", {}).get("source_position")) is None:
            continue
        field = str(detail["loc"][0]).removesuffix(f" at {where}") or "what it says"
        if is_of_file and detail["type"] in ("missing", "extra_forbidden"):
            yield f"{where}: {what_is_wrong(detail, field, [*ComponentFileModel.model_fields])}"
        else:
            found = shortened(repr(detail["input"]))
            yield f"{where}: {field}: {detail['msg']}, and here is {found}"


def _wrong_component(error: BaseException | None) -> SettingsError | None:
    """That a YAML is empty, or of a type that there is not; of the one that Dagster was reading."""
    from dagster.components.core.context import ComponentDeclLoadContext
    from dagster_shared.yaml_utils import parse_yamls_with_source_position

    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        values = (value for frame in reversed(frames) for value in frame.f_locals.values())
        found = [each for each in values if isinstance(each, ComponentDeclLoadContext)]
        if found:
            break
        error = error.__cause__
    else:
        return None
    context = found[0]  # of the innermost call
    yaml = next((path for name in _YAML_NAMES if (path := context.path / name).is_file()), None)
    if yaml is None:
        return None
    documents = parse_yamls_with_source_position(yaml.read_text(encoding="utf-8"), str(yaml))
    if not documents:
        return SettingsError(
            f"{yaml}:1: it is empty; write a type and its attributes, or remove the file"
        )
    for document in documents:
        written = document.value.get("type") if isinstance(document.value, dict) else None
        if not isinstance(written, str):
            continue
        if (why := _why_no_type(context.normalize_component_type_str(written))) is not None:
            where, _ = document.source_position_tree.lookup_closest_and_path(["type"], None)
            return SettingsError(f"{where}: {why}")
    return None


def _why_no_type(named: str) -> str | None:
    """Why there is no component of a type; None where there is, or its module is what is wrong."""
    from codedata import components

    module, _, name = named.rpartition(".")
    known = [f"{components.__name__}.{each}" for each in components.__all__]
    if (found := sys.modules.get(module)) is not None:
        if hasattr(found, name):
            return None
        what = f"no {name!r} in {module}"
        known = [*known, *(f"{module}.{each}" for each in vars(found))]
    else:
        try:
            if importlib.util.find_spec(module) is not None:
                return None
        except (ModuleNotFoundError, ValueError):  # of its parent, or of a name that is none
            pass
        what = f"no module {module!r}"
    remedy = did_you_mean(named, known) or "correct its type, or install its package"
    return f"type is {shortened(repr(named))}, and there is {what}; {remedy}"
