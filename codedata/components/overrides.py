"""Variables of the environment -> what each sets a switch to, or that nobody reads it.

A misspelt override would leave the YAML's value in force without a word.
"""

import re
from collections.abc import Collection, Iterable, Mapping

from codedata.environment import PREFIX
from codedata.errors import SettingsError
from codedata.layout import (
    CORPUS_VARIABLE,
    DASK_VARIABLE,
    ROOT_VARIABLE,
    TOKENIZER_VARIABLE,
    switch_variable,
)
from codedata.places import local_path
from codedata.printable import shortened
from codedata.recipe.settings import SWITCHES, Switch
from codedata.store.cache import CACHE_VARIABLE
from codedata.store.locks import NO_LOCK_VARIABLE

_SLIP = 2
"""Letters that a slip of the fingers changes: two that are swapped, one that is doubled."""

_KUBERNETES = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)
"""What Kubernetes sets in every container beside a service `codedata` or `codedata-NAME`:
https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables"""


def unread_variables(splits: Collection[str], given: Mapping[str, str]) -> list[str]:
    """The variables that are set and that neither the package nor a split reads.

    Args:
        splits: the names of the splits.
        given: the variables by their names; empty ones are as good as unset.

    Raises:
        SettingsError: some look like an override that is misspelt.
    """
    of_splits = {switch_variable(split, switch) for split in splits for switch in SWITCHES}
    of_package = {ROOT_VARIABLE, CORPUS_VARIABLE, TOKENIZER_VARIABLE, DASK_VARIABLE}
    known = of_package | {NO_LOCK_VARIABLE, CACHE_VARIABLE} | of_splits
    unread = sorted(name for name, value in given.items() if value and name not in known)
    prefixes = sorted((switch_variable(split, "") for split in splits), key=len, reverse=True)
    misspelt: list[str] = []
    for name in unread:
        if _KUBERNETES.fullmatch(name):
            continue
        nearest = _nearest(name, known)
        prefix = next((each for each in prefixes if name.startswith(each)), None)
        if _distance(name, nearest) > _SLIP:
            if prefix is None:
                continue
            nearest = _nearest(name, [each for each in of_splits if each.startswith(prefix)])
        misspelt.append(f"{name} is set, but codedata has no such variable, only {nearest}")
    if misspelt:
        raise SettingsError(f"{'; '.join(misspelt)}; correct the name, or unset it")
    return unread


def _nearest(name: str, known: Iterable[str]) -> str:
    return min(sorted(known), key=lambda other: _distance(name, other))


def _distance(one: str, other: str) -> int:
    """How many letters must be put in, left out or changed to make one name of the other."""
    row = list(range(len(other) + 1))
    for taken, letter in enumerate(one, 1):
        above, row = row, [taken]
        for at, wanted in enumerate(other):
            row.append(min(above[at] + (letter != wanted), above[at + 1] + 1, row[at] + 1))
    return row[-1]


def override(variable: str, text: str, switch: Switch) -> int | str:
    """What a variable sets a switch to.

    Raises:
        SettingsError: the switch cannot be that.
    """
    try:
        value = switch.parse(text)
    except ValueError as error:
        raise SettingsError(
            f"{variable} is {shortened(text)!r}, which is not a whole number; write its digits "
            "alone, or unset it"
        ) from error
    if why := switch.why_not(value):
        raise SettingsError(f"{why}; {variable} sets {switch.name}: correct it, or unset it")
    if switch.type is str:
        local_path(text, variable)
    return value
