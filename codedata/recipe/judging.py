"""What stands in a mapping of a YAML -> the values of its fields, or a refusal of a wrong one.

A dataclass says of each of its fields, by `judged`, what it is and what it takes. Pure.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, cast

from codedata.errors import SettingsError
from codedata.printable import did_you_mean, shortened

MAX_SEED = 2**63 - 1


class RecipeError(SettingsError):
    """A field is missing, unknown, or holds what it does not take.

    Attributes:
        path: the names that lead to it, for who knows where in a file it stands.
    """

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def no_truth(name: str, value: object, write: str = "a number, or a word in quotes") -> object:
    """The value of a field, refused where it is one of the words that YAML takes for true or false.

    Args:
        name: of the field.
        value: what stands there.
        write: what should.

    Raises:
        SettingsError: it is.
    """
    if not isinstance(value, bool):
        return value
    raise SettingsError(
        f"{name} is {str(value).lower()}, as YAML also reads yes, no, on and off; write {write}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What a field takes.

    Attributes:
        write: what a user should write, for messages.
        value: of what stands in a YAML; a ValueError or TypeError where that will not do.
        schema: the same for editors, in JSON's terms.
        words: where those are all.
    """

    write: str
    value: Callable[[Any], Any]
    schema: Mapping[str, Any]
    words: tuple[str, ...] = ()


def judged(what: str, taken: Taken) -> dict[str, Any]:
    """The metadata of a field of a dataclass: what it is, and what it takes."""
    return {"help": what, "taken": taken}


def values_of(
    given: object, known: Mapping[str, Field[Any]], path: tuple[str, ...]
) -> dict[str, Any]:
    """The values of the fields that a mapping has.

    Args:
        given: what stands in the YAML.
        known: the fields that there are.
        path: the names that lead to the mapping.

    Raises:
        RecipeError: it is none, or one of its fields is unknown, missing or wrong.
    """
    fields = mapping_of(given, known, path)
    for name, each in known.items():
        if each.default is MISSING and name not in fields:
            where = ".".join((*path, name))
            said = f"{where} is missing, {each.metadata['help']}; write {taken_by(each).write}"
            raise RecipeError(said, path)
    return {
        name: _value_of(value, taken_by(known[name]), (*path, name))
        for name, value in fields.items()
    }


def mapping_of(given: object, known: Iterable[str], path: tuple[str, ...]) -> Mapping[str, Any]:
    """A mapping that has none but known fields.

    Raises:
        RecipeError: it is none, or has others.
    """
    where, names = ".".join(path), [*known]
    _refuse_truth(given, path, f"fields below it, of {', '.join(names)}")
    if not isinstance(given, Mapping):
        said = f"{where} is {_shown(given)}; write fields below it, of {', '.join(names)}"
        raise RecipeError(said, path)
    fields = cast("Mapping[object, Any]", given)
    for name in fields:
        if name not in names:
            meant = f"{did_you_mean(str(name), names)} there are {', '.join(names)}".lstrip()
            raise RecipeError(f"{where} has no field {_shown(name)}; {meant}", (*path, str(name)))
    return cast("Mapping[str, Any]", fields)


def taken_by(each: Field[Any]) -> Taken:
    """What a field takes."""
    return each.metadata["taken"]


def _value_of(value: object, taken: Taken, path: tuple[str, ...]) -> Any:
    _refuse_truth(value, path, taken.write)
    try:
        return taken.value(value)
    except (TypeError, ValueError, LookupError, OverflowError):
        meant = f"{did_you_mean(value, taken.words)} " if isinstance(value, str) else ""
        said = f"{'.'.join(path)} is {_shown(value)}; {meant.lstrip()}write {taken.write}"
        raise RecipeError(said, path) from None


def _refuse_truth(value: object, path: tuple[str, ...], write: str) -> None:
    try:
        no_truth(".".join(path), value, write)
    except SettingsError as error:
        raise RecipeError(str(error), path) from None


def _shown(value: object) -> str:
    return "empty" if value in (None, "") else shortened(repr(value))


def one_of(*words: str) -> Taken:
    """One of some words."""

    def value(given: Any) -> str:
        if given not in words:
            raise ValueError
        return given

    write = f"{', '.join(words[:-1])} or {words[-1]}"
    return Taken(write=write, value=value, schema={"enum": [*words]}, words=words)


def _share(given: Any) -> float:
    number = float(given)
    if not (math.isfinite(number) and 0 <= number <= 1):
        raise ValueError
    return abs(number)  # -0 is 0


def _seed(given: Any) -> int:
    number = int(given)
    if (isinstance(given, float) and not given.is_integer()) or not 0 <= number <= MAX_SEED:
        raise ValueError
    return number


def _token(given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise TypeError
    given.encode()  # a lone surrogate is no name
    return given


SHARE = Taken(
    write="a number from 0 to 1",
    value=_share,
    schema={"type": ["number", "string"], "minimum": 0, "maximum": 1},
)
SEED = Taken(
    write=f"a whole number from 0 to {MAX_SEED}",
    value=_seed,
    schema={"type": ["integer", "string"], "minimum": 0, "maximum": MAX_SEED},
)
TOKEN = Taken(
    write="the name of a token of the tokenizer, in quotes", value=_token, schema={"type": "string"}
)
TOKEN_OR_NONE = Taken(
    write="the name of a token of the tokenizer, in quotes, or null for none",
    value=lambda given: None if given is None else _token(given),
    schema={"type": ["string", "null"]},
)
