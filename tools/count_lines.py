"""Python files -> how many lines of code they have: no blanks, comments or docstrings.

    python tools/count_lines.py [FOLDER ...]

prints the lines of each folder (codedata and codedata_tests without one) and of what lies in it.
"""

import argparse
import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

_NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)


def count_lines(source: str) -> int:
    """Lines that hold a part of a statement other than a bare string."""
    bare = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - bare)


def main() -> None:
    """Print the lines of folders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="*")
    for folder in parser.parse_args().folder or [Path("codedata"), Path("codedata_tests")]:
        lines: Counter[str] = Counter()
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).parts
            name = f"{inside[0]}/" if len(inside) > 1 else "*.py"
            lines[name] += count_lines(path.read_text(encoding="utf-8"))
        print(f"{lines.total():7,} {folder}")
        for name, count in lines.most_common():
            print(f"{count:7,}   {name}")


if __name__ == "__main__":
    main()
