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

_TOKENIZER_OPTION = "--tokenizer_base"
_PATH_OPTIONS = ("--data_file", "--tokenization_folder", _TOKENIZER_OPTION)
_CORPUS_VARIABLE = "CODEDATA_CORPUS"
_TOKENIZER_VARIABLE = re.compile(r"CODEDATA_TOKENIZER|CODEDATA_\w+_TOKENIZER_BASE")
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
        if is_assignment and _VARIABLE.fullmatch(variable):
            is_tokenizer = _TOKENIZER_VARIABLE.fullmatch(variable) is not None
            is_path = is_tokenizer or variable == _CORPUS_VARIABLE
            prefix = f"{variable}="
        else:
            is_tokenizer, is_path = before == _TOKENIZER_OPTION, before in _PATH_OPTIONS
            prefix, value = "", word
        if is_path and not (is_tokenizer and tokenizer_is_hub):
            value = name_of(value)
        words.append(prefix + shlex.quote(value))
        before = word
    return " ".join(words)
