"""What a release promises: files that agree on the version, public names that exist, pins."""

import pkgutil
import re
import runpy
import shutil
import tomllib
from pathlib import Path

import yaml

import codedata

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
problems = runpy.run_path(str(ROOT / "tools" / "release_check.py"))["problems"]


def test_a_release_is_refused_where_the_tag_or_a_file_has_another_version(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CHANGELOG.md", "CITATION.cff"):
        text = (ROOT / name).read_text(encoding="utf-8")
        urls = '\n[project.urls]\nHomepage = "https://example.org"\n'
        (tmp_path / name).write_text(text + (urls if name == "pyproject.toml" else ""), "utf-8")
    changelog = tmp_path / "CHANGELOG.md"
    released = re.sub(
        r"(?<=^## \[Unreleased\]\n).*?(?=^## )",
        "\n",
        changelog.read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    changelog.write_text(released, encoding="utf-8")
    assert list(problems(tmp_path, f"v{PROJECT['version']}")) == []
    assert [line.partition(",")[0] for line in problems(tmp_path, "v9.9.9")] == [
        "the tag is v9.9.9"
    ]
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    later = released.replace("[Unreleased]\n", "[Unreleased]\n\n- More.\n").replace("[0.", "[7.")
    changelog.write_text(later, encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text("version: 0.0.9\n", encoding="utf-8")
    assert len(list(problems(tmp_path, f"v{PROJECT['version']}"))) == 4


def test_every_name_of_the_page_on_what_is_public_is_there() -> None:
    page = (ROOT / "docs" / "reference" / "public-api.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(codedata(?:\.\w+)+)`", page)) - {
        "codedata.sources",  # groups of entry points
        "codedata.engines",
    }
    assert len(names) >= 7
    for name in names:
        assert pkgutil.resolve_name(name) is not None
    reference = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    described = re.findall(r"^::: codedata\.[\w.]+\.(\w+)$", reference, re.MULTILINE)
    assert {*codedata.__all__} - {*described} == {"CodedataError"}, "a section of its own has it"


def test_the_hooks_and_the_gate_have_the_same_ruff() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [rev] = [each["rev"] for each in hooks["repos"] if each["repo"].endswith("ruff-pre-commit")]
    assert f"ruff=={rev.removeprefix('v')}" in PROJECT["optional-dependencies"]["dev"]


def test_every_direct_dependency_has_a_lowest_version_and_a_pin() -> None:
    pins = re.findall(
        r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    extras = PROJECT["optional-dependencies"].values()
    for requirement in [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]:
        [name] = re.findall(r"^([\w-]+)(?:\[\w+\])?(?:>=|==)\d", requirement)
        assert name in pins, "python tools/constraints.py adds it"


def test_workflows_may_read_alone_and_their_actions_are_commits() -> None:
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert job.get("permissions", {}) == (
                {"id-token": "write"} if name == "publish" else {}
            )
            used = [step["uses"] for step in job.get("steps", []) if "uses" in step]
            assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)
