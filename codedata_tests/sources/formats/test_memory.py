"""Memory follows a row and a part, not a file: measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

_WRITE = """
import resource, sys
from pathlib import Path
from codedata.errors import CorpusError
from codedata.progress import SILENT
from codedata.sources.columns import Columns
from codedata.sources.formats.registry import format_of
from codedata.sources.formats.rows import BadRows
from codedata.sources.parts import write_parts
path = Path(sys.argv[1])
try:
    with path.open("rb") as opened:
        batches = format_of(path.name).read(opened, path.name, Columns(), BadRows())
        part = write_parts(
            batches, path.parent / "parts", name=path.name, identity='', file_bytes=0,
            reporter=SILENT,
        )
    print(part.num_chars)
except CorpusError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

pytestmark = pytest.mark.campaign


def written(path: Path) -> tuple[str, int]:
    """What a process says that writes the parts of a file, and the most megabytes it had."""
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, str(path)], check=True, capture_output=True, text=True
    )
    said, peak = done.stdout.splitlines()
    return said, int(peak)


def compress(path: Path, *pieces: tuple[bytes, int]) -> Path:
    """A file of pieces, each so many times, in zstd."""
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        for piece, times in pieces:
            for _ in range(times):
                out.write(piece)
    return path


def test_eight_times_the_text_takes_no_more_memory(tmp_path: Path) -> None:
    lines = b"".join(
        json.dumps({"content": f"int f{n}(int a) {{ return {n}; }}\n" * 90}).encode() + b"\n"
        for n in range(4_000)
    )
    said, peak = written(compress(tmp_path / "c.jsonl.zst", (lines, 1)))
    more_said, more_peak = written(compress(tmp_path / "d.jsonl.zst", (lines, 8)))
    assert int(more_said) == 8 * int(said) + 7 > 80_000_000
    assert more_peak < peak + 40


def test_a_line_of_two_gigabytes_in_200_kilobytes_is_refused_by_its_number(tmp_path: Path) -> None:
    path = compress(
        tmp_path / "bomb.jsonl.zst",
        (b'{"content": "good"}\n{"content": "', 1),
        (b"a" * 1_000_000, 2_000),
        (b'"}\n', 1),
    )
    assert path.stat().st_size < 250_000
    said, peak = written(path)
    assert said.startswith("bomb.jsonl.zst, line 2: has more than 1,000,000,000 bytes; mend or ")
    assert peak < 1_500
