"""A file's ending -> the name of its language, as the column `lang` of The Stack has it."""

_EXTENSIONS = {
    "Assembly": "asm s",
    "C": "c h",
    "C#": "cs",
    "C++": "c++ cc cpp cxx h++ hh hpp hxx inl ipp tcc tpp",
    "CMake": "cmake",
    "CSS": "css",
    "Clojure": "clj cljc cljs",
    "Cuda": "cu cuh",
    "Dart": "dart",
    "Elixir": "ex exs",
    "Erlang": "erl hrl",
    "F#": "fs fsi fsx",
    "FORTRAN": "f f03 f08 f77 f90 f95 for",
    "Go": "go",
    "Groovy": "groovy",
    "HTML": "htm html",
    "Haskell": "hs",
    "JSON": "json",
    "Java": "java",
    "JavaScript": "cjs js jsx mjs",
    "Julia": "jl",
    "Jupyter Notebook": "ipynb",
    "Kotlin": "kt kts",
    "Lua": "lua",
    "Markdown": "markdown md",
    "OCaml": "ml mli",
    "PHP": "php",
    "Perl": "pl pm",
    "PowerShell": "ps1 psm1",
    "Protocol Buffer": "proto",
    "Python": "py pyi",
    "R": "R r",
    "Ruby": "rb",
    "Rust": "rs",
    "SQL": "sql",
    "Scala": "scala",
    "Scheme": "scm",
    "Shell": "bash sh zsh",
    "Swift": "swift",
    "SystemVerilog": "sv svh",
    "TOML": "toml",
    "TeX": "tex",
    "TypeScript": "ts tsx",
    "VHDL": "vhd vhdl",
    "Verilog": "v",
    "XML": "xml",
    "YAML": "yaml yml",
    "Zig": "zig",
}
"""The common ones. An ending that several languages share without one being the usual (m: MATLAB,
Objective-C) is none of them."""

_LANGUAGES = {ending: name for name, all_ in _EXTENSIONS.items() for ending in all_.split()}


def language_of(extension: str) -> str | None:
    """The language of an ending without its dot; None where it is not in the table."""
    return _LANGUAGES.get(extension)


_NOT_CODE = {"CSS", "HTML", "JSON", "Jupyter Notebook", "Markdown", "TOML", "TeX", "XML", "YAML"}


def code_extensions() -> list[str]:
    """The endings of programming languages, those of data, markup and text left out."""
    return sorted(ending for ending, name in _LANGUAGES.items() if name not in _NOT_CODE)
