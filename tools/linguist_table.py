"""A clone of github-linguist -> codedata/sources/languages.json: the files that languages have.

    git clone https://github.com/github-linguist/linguist
    python tools/linguist_table.py linguist

Of lib/linguist/languages.yml, as it was committed, the endings and whole names of files; with the
commit, the version and the licence. Left out are endings with a dot inside, such as `h.in`, and
languages that have no file of their own. A new table moves the corpora that name `languages`.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from codedata.sources.languages import TABLE


def table(clone: Path) -> str:
    """The text of the file: a language a line, sorted."""
    known: dict[str, Any] = yaml.safe_load(_git(clone, "show", "HEAD:lib/linguist/languages.yml"))
    lines: list[str] = []
    for name, says in sorted(known.items()):
        endings = sorted(each[1:] for each in says.get("extensions", ()) if each.count(".") == 1)
        files = {"endings": " ".join(endings), "names": sorted(says.get("filenames", ()))}
        if any(files.values()):
            kept = {key: value for key, value in files.items() if value or key == "endings"}
            lines.append(f"{json.dumps(name)}: {json.dumps(kept, ensure_ascii=False)}")
    origin = {
        "from": "https://github.com/github-linguist/linguist, lib/linguist/languages.yml",
        "commit": _git(clone, "rev-parse", "HEAD").strip(),
        "version": _git(clone, "show", "HEAD:lib/linguist/VERSION").strip(),
        "licence": "MIT",
        "notice": _git(clone, "show", "HEAD:LICENSE"),
    }
    said = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in origin.items()]
    return "\n".join(["{", *said, '"languages": {', ",\n".join(lines), "}", "}", ""])


def _git(clone: Path, *arguments: str) -> str:
    command = ["git", "-C", str(clone), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the table of languages.")
    parser.add_argument("clone", type=Path, help="a clone of github-linguist")
    TABLE.write_text(table(parser.parse_args().clone), encoding="utf-8")
