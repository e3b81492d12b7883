"""Megatron-Core, mosaicml-streaming and TRL read what was exported for them, each by itself.

They ask for other releases of what this project uses, or for a GPU's: so each gets an environment
of its own on top of this one, made by pip without their dependencies, and a process that reads.
That needs a package index; where there is none the test skips and says so.

    pytest -m long codedata_tests/export/test_own_readers.py
"""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from codedata.export.exporting import export_dataset
from codedata.format.packing import IdArray
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario
from codedata_tests.export.conftest import documents_of_chunks, with_wide_ids

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

READ_MEGATRON = """
import json, sys
from megatron.core.datasets.indexed_dataset import IndexedDataset

read = IndexedDataset(sys.argv[1] + "/samples")
print(json.dumps([read[i].tolist() for i in range(len(read))]))
print(json.dumps([read.document_indices.tolist(), str(read.index.dtype.__name__)]))
"""

READ_MDS = """
import json, sys, types
from importlib.machinery import ModuleSpec

# torchvision's wheels on PyPI are for CUDA; only streaming.vision, unused here, asks for it.
for name in ("torchvision", "torchvision.datasets", "torchvision.transforms",
             "torchvision.transforms.functional"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__spec__ = ModuleSpec(name, None)
sys.modules["torchvision.datasets"].VisionDataset = object
sys.modules["torchvision.transforms.functional"].to_tensor = None
from streaming import StreamingDataset

read = StreamingDataset(local=sys.argv[1], shuffle=False, batch_size=1, validate_hash="sha256")
samples = [read[i] for i in range(len(read))]
print(json.dumps([[int(s["text_tokens"]), *s["tokens"].tolist()] for s in samples]))
print(json.dumps(sorted({(s["tokens"].dtype.name, s["tokens"].shape) for s in samples})))
"""

READ_TRL = """
import json, sys
from datasets import load_dataset
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

samples = load_dataset(sys.argv[1], split="train", cache_dir=sys.argv[1] + "-cache")
collate = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
batch = collate([samples[i] for i in range(len(samples))])
assert "attention_mask" not in batch
print(json.dumps([*batch["input_ids"].tolist(), *batch["labels"].tolist()]))
print(json.dumps(batch["position_ids"].tolist()))
"""


def environment_with(folder: Path, *packages: str) -> str:
    """The interpreter of a new environment: this one's packages, and some without dependencies."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    here = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    own = sysconfig.get_path("purelib")
    # Not the path alone: packages that this environment has from another one are there as well.
    line = f"import site; site.addsitedir({own!r})\n"
    (Path(here.stdout.strip()) / "base.pth").write_text(line, encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", *packages]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip could not install {packages}: {done.stderr.splitlines()[-1:]}")
    return str(python)


def read_by(python: str, script: str, output: Path) -> list[list[list[int]]]:
    command = [python, "-W", "ignore", "-c", script, str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-2:]]


@with_wide_ids
@pytest.mark.skipif(sys.platform != "linux", reason="megatron-core has wheels for Linux alone")
def test_megatron_core_reads_its_export(
    folder: Path, ids: IdArray, text_tokens: list[int], tmp_path: Path
) -> None:
    export_dataset(open_dataset(folder), "megatron", tmp_path / "output")
    python = environment_with(tmp_path / "venv", "megatron-core==0.16.1")
    sequences, rest = read_by(python, READ_MEGATRON, tmp_path / "output")
    assert sequences == [row[:n] for row, n in zip(ids.tolist(), text_tokens, strict=True)]
    assert rest == [list(range(len(ids) + 1)), "int32" if ids.max() > 65_535 else "uint16"]


@with_wide_ids
def test_mosaicml_streaming_reads_its_export(
    folder: Path, ids: IdArray, text_tokens: list[int], tmp_path: Path
) -> None:
    export_dataset(open_dataset(folder), "mds", tmp_path / "output")
    packages = ["brotli", "python-snappy", "cramjam", "zstd", "catalogue"]
    python = environment_with(tmp_path / "venv", "mosaicml-streaming==0.13.0", *packages)
    samples, rest = read_by(python, READ_MDS, tmp_path / "output")
    assert samples == [[n, *row] for row, n in zip(ids.tolist(), text_tokens, strict=True)]
    assert rest == [["int32", [ids.shape[1]]]]


@pytest.mark.skipif(sys.platform != "linux", reason="megatron-core has wheels for Linux alone")
def test_megatron_core_reads_every_document_of_its_export(tmp_path: Path) -> None:
    folder = scenario.write_document_dataset(tmp_path / "documents")
    export_dataset(open_dataset(folder), "megatron", tmp_path / "output")
    python = environment_with(tmp_path / "venv", "megatron-core==0.16.1")
    sequences, rest = read_by(python, READ_MEGATRON, tmp_path / "output")
    assert sorted(sequences) == sorted(documents_of_chunks())
    assert rest == [list(range(len(sequences) + 1)), "uint16"]


def test_trl_s_position_ids_start_anew_with_each_document_of_its_export(tmp_path: Path) -> None:
    folder = scenario.write_document_dataset(tmp_path / "documents")
    dataset = open_dataset(folder)
    export_dataset(dataset, "parquet", tmp_path / "output")
    python = environment_with(tmp_path / "venv", "trl==1.9.0")
    (ids, labels), [positions] = read_by(python, READ_TRL, tmp_path / "output")
    sizes = [stop - start for spans in dataset.spans for start, stop in spans[:, 1:3].tolist()]
    assert positions == [place for size in sizes for place in range(size)]
    assert len(sizes) > dataset.num_samples
    text = [
        shard[sample, start:stop].tolist()
        for shard, spans in zip(dataset.shards, dataset.spans, strict=True)
        for sample, start, stop in spans[:, :3].tolist()
    ]
    assert ids == [id_ for each in text for id_ in each]
    assert labels == [id_ for each in text for id_ in (-100, *each[1:])]
