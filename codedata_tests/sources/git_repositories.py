"""Real git repositories for tests, made without the configuration of whoever runs them."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_WHO = {"NAME": "A", "EMAIL": "a@example.org", "DATE": "2026-01-01T00:00:00Z"}

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ALLOW_PROTOCOL": "file",
    **{
        f"GIT_{who}_{name}": value
        for who in ("AUTHOR", "COMMITTER")
        for name, value in _WHO.items()
    },
}


def git(folder: Path, *arguments: str | bytes | Path) -> bytes:
    """What git prints."""
    done = subprocess.run(
        ["git", "-C", folder, *arguments],  # noqa: S607  (the git that is there)
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def commit(folder: Path, files: Mapping[str, str | bytes], *options: str) -> str:
    """Write files into a working copy, which is made where there is none; the new commit."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "-q", "-b", "main", *options)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "-q", "-m", "it", "--allow-empty")
    return git(folder, "rev-parse", "HEAD").decode().strip()
