"""What Dagster says of definitions that cannot be made -> the one line that a user can act on."""

from typing import TYPE_CHECKING

from pydantic import ValidationError
from yaml import MarkedYAMLError

from codedata.errors import CodedataError, SettingsError
from codedata.printable import shortened

if TYPE_CHECKING:
    import dagster as dg


def require_all_defined(defs: "dg.Definitions") -> None:
    """Refuse a split over a corpus or a tokenizer that no definition makes.

    Raises:
        SettingsError: naming the split and what it needs.
    """
    graph = defs.resolve_asset_graph()
    for key in sorted(graph.unexecutable_asset_keys):
        for child in sorted(graph.get(key).child_keys):
            split, *asset = child.path
            if asset == ["token_chunks"]:
                raise SettingsError(
                    f"split {split!r} needs the asset {key.to_user_string()!r}, which nothing "
                    "defines; correct corpus or tokenizer_asset in its defs.yaml, or add the one "
                    "it names"
                )


def user_error(error: BaseException | None) -> CodedataError | None:
    """What a user can mend: our own error among the causes, or a YAML that Dagster refuses."""
    while error is not None:
        if isinstance(error, CodedataError):
            return error
        if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
            return SettingsError(f"{mark.name}:{mark.line + 1}: {error.problem}; correct the YAML")
        if isinstance(error, ValidationError):
            for detail in error.errors():
                if where := detail.get("ctx", {}).get("source_position"):
                    found = shortened(repr(detail["input"]))
                    return SettingsError(f"{where}: {detail['msg']}, and here is {found}")
        error = error.__cause__
    return None
