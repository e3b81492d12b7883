"""A tag, and the files that name the version -> what keeps the release from being made.

    python tools/release_check.py TAG

Exit status: 0 where tag, pyproject.toml, CHANGELOG.md and CITATION.cff agree and pyproject.toml
says where the project lives, else 1, a line for each that is wrong.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(root: Path, tag: str) -> Iterator[str]:
    """What is wrong with releasing a checkout under a tag, one line each."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    if tag != f"v{version}":
        yield f"the tag is {tag}, but pyproject.toml has version {version}: tag v{version}"
    if "Homepage" not in project.get("urls", {}):
        yield "pyproject.toml has no [project.urls]: PyPI would not say where the project lives"
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(
        rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE
    ):
        yield f"CHANGELOG.md has no heading `## [{version}] - YYYY-MM-DD`"
    unreleased = re.search(
        r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE
    )
    if unreleased and unreleased[1].strip():
        yield f"CHANGELOG.md has entries under Unreleased: move them to {version}"
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    cited = re.search(r"^version: \"?([^\"\s]+)", citation, re.MULTILINE)
    if not cited or cited[1] != version:
        yield f"CITATION.cff has version {cited and cited[1]}, pyproject.toml {version}"


def main() -> int:
    """Print what is wrong; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tag", help="as v0.1.0")
    found = list(problems(ROOT, parser.parse_args().tag))
    for line in found:
        print(line)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
