"""What Dagster says of definitions that cannot be made -> the one line that a user can act on."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from codedata.errors import CodedataError, SettingsError

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
    """What a user can mend, out of one of Dagster's errors: our own among its causes, or a YAML."""
    return _own_error(error) or _yaml_error(error)


def _yaml_error(error: BaseException | None) -> SettingsError | None:
    """What pydantic says of a YAML that does not fit the component, in one line."""
    where, found = "a defs.yaml", list[str]()
    while error is not None:
        first_line = str(error).partition("\n")[0]
        if isinstance(error, ValidationError):
            found = [
                f"{'.'.join(map(str, detail['loc']))} is {detail['input']!r}: {detail['msg']}"
                for detail in error.errors()
            ]
        elif first_line.startswith("Error while loading component "):
            where = first_line.removeprefix("Error while loading ").rstrip(":")
        error = error.__cause__
    if not found:
        return None
    return SettingsError(f"{where}: {'; '.join(dict.fromkeys(found))}; correct its defs.yaml")


def _own_error(error: BaseException | None) -> CodedataError | None:
    """Our own error among the causes of another, pydantic's wrapping included."""
    while error is not None:
        if isinstance(error, CodedataError):
            return error
        if isinstance(error, ValidationError):
            for detail in error.errors():
                cause = detail.get("ctx", {}).get("error")
                if isinstance(cause, CodedataError):
                    return cause
        error = error.__cause__
    return None
