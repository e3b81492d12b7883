"""What a defs.yaml says -> a component, or a refusal of one line: the file, the line, the field.

Dagster judges attributes by a model that it derives, and says where an error is in prose alone. So
that model takes whatever it is given here, and the component judges it, once, with the positions
that Dagster has of every field.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Self

import dagster as dg
from dagster_shared.yaml_utils.source_position import SourcePositionTree
from pydantic import (
    BaseModel,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from codedata.errors import CodedataError, SettingsError
from codedata.recipe.judging import RecipeError, no_truth
from codedata.sources.registry import what_is_wrong


class YamlComponent(dg.Component, dg.Resolvable, dg.Model):
    """A component whose YAML is refused by the field, with its line."""

    _positions: SourcePositionTree | None = PrivateAttr(default=None)
    """Of the attributes; None where the component is made in Python."""

    @classmethod
    def model(cls) -> type[BaseModel]:
        """The schema of its attributes, for editors and `dg check`."""
        return _unjudged(super().model())

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """The component of a YAML, also of one without attributes."""
        return super().load(attributes or cls.model().model_validate({}), context)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """The component of attributes whose templates are resolved.

        Raises:
            SettingsError: naming every field that does not fit, and where it is.
        """
        found = context.source_position_tree
        positions = found and found.children.get("attributes", found)
        assert isinstance(model, _Unjudged)
        try:
            made = cls.model_validate(context.resolve_value(model.given))
        except ValidationError as error:
            fields = [*cls.model_fields]
            wrong = [_explained(detail, positions, fields) for detail in error.errors()]
            raise SettingsError("; ".join(dict.fromkeys(wrong))) from None  # it says no more
        made._positions = positions  # noqa: SLF001  (of its own class)
        return made

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, info: ValidationInfo) -> object:
        """Refuse `yes` where a number or a name belongs: pydantic would take it for 1."""
        name = info.field_name or ""
        takes_truth = cls.model_fields[name].annotation in (bool, Any)  # whose own reader judges
        return value if takes_truth else no_truth(name, value)

    def require_own_name(self, context: dg.ComponentLoadContext, what: str) -> None:
        """Refuse a name that another component of the tree has.

        Raises:
            SettingsError: saying where both are.
        """
        if self._positions is None:
            return
        name = self._name
        for other in context.component_tree.get_all_components(of_type=type(self)):
            if other is self:
                return  # the later one is refused
            if other._name == name:  # noqa: SLF001  (of its own class)
                where = _place(other._positions, ["name"]).removesuffix(": ")  # noqa: SLF001
                with self.about("name"):
                    raise SettingsError(
                        f"there are two {what} {name!r}, here and in {where}; rename one"
                    )

    @property
    def _name(self) -> object:
        return getattr(self, "name", None)

    @contextmanager
    def about(self, *path: str | int) -> Iterator[None]:
        """Say where a field is in what is refused inside."""
        try:
            yield
        except CodedataError as error:
            raise type(error)(f"{_place(self._positions, path)}{error}") from None


class _Unjudged(BaseModel):
    """Attributes as they stand in a YAML."""

    _given: Any = PrivateAttr(default=None)

    @property
    def given(self) -> Any:
        """What was written."""
        return self._given


@cache
def _unjudged(derived: type[BaseModel]) -> type[BaseModel]:
    class Attributes(_Unjudged, derived):
        @model_validator(mode="wrap")
        @classmethod
        def _take(cls, given: Any, _: Any) -> Self:
            fields = given.items() if isinstance(given, dict) else ()
            made = cls.model_construct(**{str(name): value for name, value in fields})
            made._given = given  # noqa: SLF001  (of its own class)
            return made

    return Attributes


def _explained(
    detail: ErrorDetails, positions: SourcePositionTree | None, fields: Sequence[str]
) -> str:
    """What is wrong with a field, and where it is: the field itself, or the part of it."""
    path, own = detail["loc"], detail.get("ctx", {}).get("error")
    if isinstance(own, CodedataError):
        within = own.__cause__  # of a source, whose kind judged its fields
        more = within.errors()[0]["loc"] if isinstance(within, ValidationError) else ()
        if isinstance(own, RecipeError):
            more = own.path[len(path) :]
        return f"{_place(positions, [*path, *more])}{own}"
    name = ".".join(map(str, path))
    return f"{_place(positions, path)}{what_is_wrong(detail, name, fields)}"


def _place(positions: SourcePositionTree | None, path: Sequence[str | int]) -> str:
    """`/path/defs.yaml:7: ` of a field, or of what it would be in; nothing without a YAML."""
    return f"{positions.lookup_closest_and_path(path, None)[0]}: " if positions else ""
