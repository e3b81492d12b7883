"""The embedded demo, materialized once for all tests that look at it."""

from dataclasses import dataclass
from pathlib import Path

DEMO_SPLITS = ("demo_train", "demo_validation", "demo_documents")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What `codedata materialize` of all its splits left.

    Attributes:
        root: CODEDATA_ROOT.
        environment: of the command, for others that go on with its root and instance.
        stdout: what the command printed.
        stderr: its progress bars.
    """

    root: Path
    environment: dict[str, str]
    stdout: str
    stderr: str
