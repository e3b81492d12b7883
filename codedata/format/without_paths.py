"""Facts -> the same facts, with the names of files and folders in the place of their paths.

Facts go to others. Paths in a repository of the hub, and its tokenizers, are the same everywhere,
and stay.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from codedata.format.facts import Facts

_PATHS = ("--data_file", "--tokenization_folder", "CODEDATA_CORPUS")
_TOKENIZER = re.compile(r"--tokenizer_base|CODEDATA_TOKENIZER|CODEDATA_\w+_TOKENIZER_BASE")
_VARIABLE = re.compile(r"CODEDATA_\w+")


def without_paths(facts: Facts) -> Facts:
    """The same facts without paths of this machine."""
    tokenizer, is_hub = facts.tokenizer, facts.tokenizer.revision is not None
    if not is_hub:
        tokenizer = replace(tokenizer, source=name_of(tokenizer.source))
    return replace(
        facts,
        corpus=_named(facts.corpus),
        files={
            number: known if "repo" in facts.corpus else _named(known)
            for number, known in facts.files.items()
        },
        tokenizer=tokenizer,
        switches={**facts.switches, "tokenizer_base": tokenizer.source},
        command=_named_command(facts.command, tokenizer_is_hub=is_hub),
    )


def name_of(path: str) -> str:
    """The last part of a path."""
    return PurePosixPath(path).name or path


def _named(known: Mapping[str, str]) -> Mapping[str, str]:
    if "repo" in known or "path" not in known:
        return known
    others = {name: value for name, value in known.items() if name != "path"}
    return {"file": name_of(known["path"]), **others}


def _named_command(command: str, *, tokenizer_is_hub: bool) -> str:
    words: list[str] = []
    before = ""
    for word in shlex.split(command):
        variable, is_assignment, value = word.partition("=")
        if not (is_assignment and _VARIABLE.fullmatch(variable)):
            variable, is_assignment, value = before, "", word
        is_path = variable in _PATHS or _TOKENIZER.fullmatch(variable)
        if is_path and not (tokenizer_is_hub and _TOKENIZER.fullmatch(variable)):
            value = name_of(value)
        prefix = f"{variable}=" if is_assignment else ""
        words.append(prefix + shlex.quote(value))
        before = word
    return " ".join(words)
