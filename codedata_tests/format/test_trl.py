"""TRL packs the same pieces into the same samples, each in an environment of its own.

That needs a package index; where there is none the test skips and says so.

    pytest -m long codedata_tests/format/test_trl.py
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from codedata.format.document_packing import pack_documents
from codedata.format.documents import KEPT, ChunkDocuments
from codedata_tests.export.test_own_readers import environment_with

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PACK = """
import json, sys
from datasets import Dataset
from trl import pack_dataset

lengths, seq_length = json.load(open(sys.argv[1])), int(sys.argv[2])
ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
ids = [list(range(end - length, end)) for end, length in zip(ends, lengths)]
packed = pack_dataset(Dataset.from_dict({"input_ids": ids}), seq_length, "bfd_split",
                      map_kwargs={"batch_size": len(lengths)})
samples = []
for row in packed:
    starts = [sum(row["seq_lengths"][:n]) for n in range(len(row["seq_lengths"]))]
    samples.append([[row["input_ids"][s], n] for s, n in zip(starts, row["seq_lengths"])])
print(json.dumps(samples))
"""
"""Of each sample the first token of each part, and how many it has."""


def lengths_like_those_of_c() -> list[int]:
    """Of 3,000 documents: log-normal, as source files are; some of them equal, some very long."""
    drawn = np.random.default_rng(0).lognormal(np.log(2426), 1.4, 3000)
    return np.maximum(2, drawn).astype(int).tolist()


def test_trl_splits_and_fits_the_same_pieces(tmp_path: Path) -> None:
    lengths = lengths_like_those_of_c()
    (tmp_path / "lengths.json").write_text(json.dumps(lengths))
    python = environment_with(tmp_path / "venv", "trl==1.16.0")
    pieces = [(number, length, 0) for number, length in enumerate(lengths)]
    documents = ChunkDocuments(
        ids=np.arange(sum(lengths), dtype=np.int32),
        pieces=np.array(pieces, np.int32),
        table=pa.table({"decision": [KEPT] * len(lengths)}),
    )
    for seq_length in (1536, 2048):
        packed = pack_documents(
            documents,
            packing="best_fit",
            order=None,
            seq_length=seq_length,
            min_sample_length=0,
            pad_token=0,
        )
        ours: list[list[tuple[int, int]]] = [[] for _ in packed.samples]
        for sample, start, stop, *_ in packed.spans.tolist():
            ours[sample].append((int(packed.samples[sample, start]), stop - start))
        command = [python, "-W", "ignore", "-c", PACK, str(tmp_path / "lengths.json")]
        done = subprocess.run(
            [*command, str(seq_length)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        theirs = json.loads(done.stdout.splitlines()[-1])
        assert sorted(sorted(map(tuple, each)) for each in theirs) == sorted(map(sorted, ours))
        assert sum(len(each) > 1 for each in ours) > 1000, "there is something to fit"
