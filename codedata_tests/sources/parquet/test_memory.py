"""Memory follows what is asked for, not what a file stands for: measured in processes of their own.

Scaled down: of the bomb 20,000 rows and of the cell 200 MB were read in docs/performance.md.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_READ = """
import resource, sys
from pathlib import Path
from codedata.format.ranges import CharRange
from codedata.sources.parquet.text import ParquetText
text = ParquetText(Path(sys.argv[1]))
window = text.clip(CharRange(0, 100_000))
assert len(text.read(window)) == 100_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

LINE = "int f(int a) { return a + 1; }\n"


def peak_megabytes(path: Path, cache: Path) -> int:
    """Of a process that counts and reads the first 100,000 characters."""
    run = subprocess.run(
        [sys.executable, "-c", _READ, str(path)],
        env={"XDG_CACHE_HOME": str(cache), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(run.stdout)


@pytest.fixture(scope="module")
def usual_megabytes(tmp_path_factory: pytest.TempPathFactory) -> int:
    """What a file takes that has little more than what is asked for."""
    path = tmp_path_factory.mktemp("usual") / "c.parquet"
    pq.write_table(pa.table({"content": [LINE * 10] * 400}), path)
    return peak_megabytes(path, path.parent)


@pytest.mark.parametrize("store_schema", [True, False], ids=["categories", "text"])
def test_one_text_thousands_of_times_takes_no_more_than_a_few_of_it(
    store_schema: bool, usual_megabytes: int, tmp_path: Path
) -> None:
    """2 GB of text in some hundred bytes."""
    path = tmp_path / "c.parquet"
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(2_000, np.int32)), pa.array(["int x;\n" * 142_857])
    )
    options = {"store_schema": store_schema, "write_statistics": False, "compression": "zstd"}
    pq.write_table(
        pa.table({"content": column}), path, dictionary_pagesize_limit=1 << 30, **options
    )
    assert path.stat().st_size < 2_000
    assert peak_megabytes(path, tmp_path) < usual_megabytes + 60


def test_one_long_document_takes_a_few_times_its_size(usual_megabytes: int, tmp_path: Path) -> None:
    """Of 62 MB: its page, and the document."""
    path = tmp_path / "c.parquet"
    pq.write_table(
        pa.table({"content": [LINE * 2_000_000]}), path, compression="zstd", write_statistics=False
    )
    assert peak_megabytes(path, tmp_path) < usual_megabytes + 62 * 4
