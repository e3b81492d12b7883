"""Runs with and without documents of one small corpus, each as quick as they come."""

from pathlib import Path
from typing import Any

import codedata
from codedata_tests.scenario import BOS, EOT, c_documents
from codedata_tests.script_runs import PAD_ID

RECIPE = {"documents": {"eos": EOT, "bos": BOS}}
WAYS: dict[str, dict[str, Any]] = {
    "best fit": {"seq_length": 64, "recipe": RECIPE},
    "reference": {"seq_length": 64},
    "concat": {"seq_length": 48, "recipe": {**RECIPE, "packing": "concat", "order": "shuffled"}},
    "best fit again": {"seq_length": 48, "recipe": RECIPE},
}
"""In turn: sidecars beside other shards than those of the one before, or none."""


def run(target: Path, tokenizer: Path, way: str) -> None:
    """Make the dataset in one of the ways."""
    codedata.build(
        c_documents(16),
        target,
        tokenizer_base=str(tokenizer),
        pad_token=PAD_ID,
        min_sample_length=8,
        max_dump_size=20,
        chunk_size=5000,
        num_workers=1,
        **WAYS[way],
    )
