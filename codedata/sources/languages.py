"""Names of files -> which of them are taken, and the language that each is of.

A language is named as github-linguist does, as the page of a repository on GitHub shows it, and has
the endings and names of files that linguist's list gives it, also those that others share: C++ has
`h` and `inc`. The list is languages.json, with its origin and licence, made by
tools/linguist_table.py. The column `lang` is as The Stack has it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from codedata.errors import CorpusError
from codedata.printable import did_you_mean, shortened

TABLE = Path(__file__).with_name("languages.json")

_EXTENSIONS = {
    "Assembly": "asm s", "C": "c h", "C#": "cs",
    "C++": "c++ cc cpp cxx h++ hh hpp hxx inl ipp tcc tpp", "CMake": "cmake", "CSS": "css",
    "Clojure": "clj cljc cljs", "Cuda": "cu cuh", "Dart": "dart", "Elixir": "ex exs",
    "Erlang": "erl hrl", "F#": "fs fsi fsx", "FORTRAN": "f f03 f08 f77 f90 f95 for", "Go": "go",
    "Groovy": "groovy", "HTML": "htm html", "Haskell": "hs", "JSON": "json", "Java": "java",
    "JavaScript": "cjs js jsx mjs", "Julia": "jl", "Jupyter Notebook": "ipynb", "Kotlin": "kt kts",
    "Lua": "lua", "Markdown": "markdown md", "OCaml": "ml mli", "PHP": "php", "Perl": "pl pm",
    "PowerShell": "ps1 psm1", "Protocol Buffer": "proto", "Python": "py pyi", "R": "R r",
    "Ruby": "rb", "Rust": "rs", "SQL": "sql", "Scala": "scala", "Scheme": "scm",
    "Shell": "bash sh zsh", "Swift": "swift", "SystemVerilog": "sv svh", "TOML": "toml",
    "TeX": "tex", "TypeScript": "ts tsx", "VHDL": "vhd vhdl", "Verilog": "v", "XML": "xml",
    "YAML": "yaml yml", "Zig": "zig",
}  # fmt: skip
"""Endings by the name of their language, as the column `lang` of The Stack has it. The common ones:
an ending that several languages share without one being the usual (m: MATLAB, Objective-C) is none
of them."""

LANGUAGES = {ending: name for name, endings in _EXTENSIONS.items() for ending in endings.split()}

_NOT_CODE = {"CSS", "HTML", "JSON", "Jupyter Notebook", "Markdown", "TOML", "TeX", "XML", "YAML"}

CODE_EXTENSIONS = sorted(ending for ending, name in LANGUAGES.items() if name not in _NOT_CODE)
"""The endings of programming languages, those of data, markup and text left out."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Which files are taken.

    Attributes:
        said: which, for messages.
        endings: what follows the last dot of their names, with the language that they are of.
        names: whole names, with the same.
    """

    said: str
    endings: Mapping[str, str | None]
    names: Mapping[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return ending_of(name) in self.endings or name in self.names

    def language(self, name: str) -> str | None:
        """The language of a file that is taken; None where none is known."""
        return self.names.get(name) or self.endings[ending_of(name)]


def ending_of(name: str) -> str:
    """What follows the last dot of a file's name; nothing where that begins it."""
    stem, _, ending = name.rpartition(".")
    return ending if stem else ""


def unusual_language(name: str, language: str | None) -> str:
    """The language of a file, as a line, where its ending is usually of another one."""
    return "" if language == LANGUAGES.get(ending_of(name)) else f"{language}\n"


def with_extensions(extensions: Iterable[str]) -> Taken:
    """The files with one of these endings, of the languages that those usually are."""
    endings = {ending: LANGUAGES.get(ending) for ending in extensions}
    return Taken(said=f"ending in {', '.join(endings)}", endings=endings)


def of_languages(languages: Sequence[str]) -> Taken:
    """The files of these languages.

    An ending that several of them have is of the one that it usually is, or of the first by name.

    Raises:
        CorpusError: there is no such language.
    """
    endings, names = dict[str, str | None](), dict[str, str]()
    known = _languages()
    by_folded = {name.casefold(): name for name in known}
    for asked in languages:
        if asked.casefold() not in by_folded:
            meant = did_you_mean(asked, known) or f"there are {len(known)}, such as C, C++, Python"
            raise CorpusError(
                f"languages names {shortened(asked)!r}, which github-linguist's list has not; "
                f"{meant}; or name endings under extensions"
            )
    for language in sorted({by_folded[asked.casefold()] for asked in languages}, reverse=True):
        endings |= dict.fromkeys(known[language]["endings"].split(), language)
        names |= dict.fromkeys(known[language].get("names", ()), language)
    usual = {ending: LANGUAGES.get(ending) for ending in endings}
    named = {*endings.values()}
    endings |= {ending: language for ending, language in usual.items() if language in named}
    return Taken(said=f"of {', '.join(languages)}", endings=endings, names=names)


@cache
def _languages() -> dict[str, Any]:
    return json.loads(TABLE.read_bytes())["languages"]
