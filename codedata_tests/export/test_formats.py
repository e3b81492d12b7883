"""Every format holds the same ids in the same order; parquet and npy as their own readers give it.

The readers of Megatron and MDS here are written from those projects' sources; test_own_readers.py
runs the projects' own.
"""

import hashlib
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.export import mds
from codedata.export.exporting import FORMATS, export_dataset
from codedata.format.packing import IdArray
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario
from codedata_tests.export.conftest import documents_of_chunks, with_wide_ids


def exported(folder: Path, to: str) -> Path:
    output = folder.with_name(f"{folder.name}-{to}")
    export_dataset(open_dataset(folder), to, output)
    return output


def origin_of(folder: Path, ids: IdArray) -> dict[str, Any]:
    digest = open_dataset(folder).digest
    return {"digest": digest, "num_samples": len(ids), "seq_length": ids.shape[1]}


def test_datasets_loads_a_parquet_of_each_shard_which_names_the_dataset(
    folder: Path, ids: IdArray, text_tokens: list[int], tmp_path: Path
) -> None:
    output = exported(folder, "parquet")
    loaded = datasets.load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(loaded, datasets.Dataset)
    assert loaded.column_names == ["input_ids", "text_tokens"]
    assert loaded["text_tokens"][:] == text_tokens
    assert np.array_equal(np.array(loaded["input_ids"][:]), ids)
    sample = loaded.with_format("torch")[7]["input_ids"]
    assert sample.tolist() == ids[7].tolist()
    assert str(sample.dtype) == "torch.int64"
    names = sorted(path.name for path in output.iterdir())
    assert names == [f"data-{i:05d}-of-00012.parquet" for i in range(12)]
    assert [pq.read_metadata(output / name).num_rows for name in names[:4]] == [3, 1, 1500, 2]
    metadata = pq.read_schema(output / names[5]).metadata
    assert json.loads(metadata[b"codedata"]) == origin_of(folder, ids)


@with_wide_ids
def test_numpy_maps_the_arrays(folder: Path, ids: IdArray, text_tokens: list[int]) -> None:
    output = exported(folder, "npy")
    mapped = np.load(output / "input_ids.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == (np.int32 if ids.max() > 65_535 else np.uint16)
    assert np.array_equal(mapped, ids)
    assert np.load(output / "text_tokens.npy").tolist() == text_tokens
    assert json.loads((output / "codedata.json").read_text()) == origin_of(folder, ids)


def read_megatron(output: Path) -> tuple[list[list[int]], list[int], str]:
    """Sequences, document indices and dtype."""
    index, data = (output / "samples.idx").read_bytes(), (output / "samples.bin").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    version, code, num_sequences, num_documents = struct.unpack_from("<QBQQ", index, 9)
    assert version == 1
    dtype = {4: np.dtype(np.int32), 8: np.dtype(np.uint16)}[code]
    lengths = np.frombuffer(index, np.int32, num_sequences, 34)
    pointers = np.frombuffer(index, np.int64, num_sequences, 34 + lengths.nbytes)
    at = 34 + lengths.nbytes + pointers.nbytes
    documents = np.frombuffer(index, np.int64, num_documents, at)
    assert len(index) == at + documents.nbytes
    assert len(data) == lengths.sum() * dtype.itemsize
    sequences = [
        np.frombuffer(data, dtype, length, pointer).tolist()
        for length, pointer in zip(lengths, pointers, strict=True)
    ]
    return sequences, documents.tolist(), dtype.name


@with_wide_ids
def test_megatron_s_sequences_are_the_samples_without_padding(
    folder: Path, ids: IdArray, text_tokens: list[int]
) -> None:
    sequences, documents, dtype = read_megatron(exported(folder, "megatron"))
    assert sequences == [row[:n] for row, n in zip(ids.tolist(), text_tokens, strict=True)]
    assert documents == list(range(len(ids) + 1))
    assert dtype == ("int32" if ids.max() > 65_535 else "uint16")


def read_mds(output: Path) -> list[dict[str, list[int]]]:
    index = json.loads((output / "index.json").read_text())
    assert index["version"] == 2
    samples: list[dict[str, list[int]]] = []
    for shard in index["shards"]:
        data = (output / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"] <= shard["size_limit"]
        assert hashlib.sha256(data).hexdigest() == shard["raw_data"]["hashes"]["sha256"]
        count = struct.unpack_from("<I", data)[0]
        assert count == shard["samples"]
        offsets = np.frombuffer(data, np.uint32, count + 1, 4).tolist()
        assert offsets[-1] == len(data)
        config = json.loads(data[4 + 4 * (count + 1) : offsets[0]])
        assert all(shard[name] == value for name, value in config.items())
        for start, stop in pairwise(offsets):
            values: dict[str, list[int]] = {}
            at = start
            for name, size in zip(config["column_names"], config["column_sizes"], strict=True):
                values[name] = np.frombuffer(data[at : at + size], np.int32).tolist()
                at += size
            assert at == stop
            samples.append(values)
    return samples


def test_mds_shards_hold_the_samples_and_their_text_tokens(
    folder: Path, ids: IdArray, text_tokens: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mds, "_CONFIG_BYTES", 512)
    for shard_bytes in (1 << 26, 2048):
        monkeypatch.setattr(mds, "_SHARD_BYTES", shard_bytes)
        output = folder.with_name(f"mds-{shard_bytes}")
        export_dataset(open_dataset(folder), "mds", output)
        assert read_mds(output) == [
            {"tokens": row, "text_tokens": [n]}
            for row, n in zip(ids.tolist(), text_tokens, strict=True)
        ]
        num_shards = len(list(output.glob("shard.*.mds")))
        assert num_shards == 1 if shard_bytes > 2048 else num_shards > 20


def test_an_older_dataset_has_whole_samples_and_no_text_tokens(older: Path, ids: IdArray) -> None:
    table = pq.read_table(exported(older, "parquet"))
    assert table.column_names == ["input_ids"]
    assert table["input_ids"].to_pylist() == ids.tolist()
    arrays = exported(older, "npy")
    assert np.array_equal(np.load(arrays / "input_ids.npy"), ids)
    assert sorted(path.name for path in arrays.iterdir()) == ["codedata.json", "input_ids.npy"]
    assert read_megatron(exported(older, "megatron"))[0] == ids.tolist()
    assert read_mds(exported(older, "mds")) == [{"tokens": row} for row in ids.tolist()]


def test_the_same_dataset_gives_the_same_bytes_again(folder: Path, tmp_path: Path) -> None:
    for to in FORMATS:
        export_dataset(open_dataset(folder), to, tmp_path / f"again-{to}")
        first, again = (
            {path.name: path.read_bytes() for path in output.iterdir()}
            for output in (exported(folder, to), tmp_path / f"again-{to}")
        )
        assert first == again


BEST_FIT = [[5, 3], [8], [8], [4], [6], [4, 2], [8]]
"""Tokens of each document in each sample of `scenario.write_document_dataset`, by hand."""

CONCAT = [[5, 3], [8], [8], [4, 4], [2], [4, 4], [4, 2]]


@pytest.mark.parametrize(("packing", "lengths"), [("best_fit", BEST_FIT), ("concat", CONCAT)])
def test_documents_are_the_seq_lengths_of_a_parquet_which_has_no_padding(
    packing: str, lengths: list[list[int]], tmp_path: Path
) -> None:
    folder = scenario.write_document_dataset(tmp_path / "d", packing=packing)
    output = exported(folder, "parquet")
    table = pq.read_table(output)
    assert table.column_names == ["input_ids", "seq_lengths"]
    assert table.schema.types == [pa.list_(pa.int32())] * 2
    assert table["seq_lengths"].to_pylist() == lengths
    rows = np.concatenate(open_dataset(folder).shards).tolist()
    texts = [row[: sum(each)] for row, each in zip(rows, lengths, strict=True)]
    assert table["input_ids"].to_pylist() == texts
    assert json.loads(table.schema.metadata[b"codedata"])["boundaries"] == "seq_lengths"


@pytest.mark.parametrize("packing", ["best_fit", "concat"])
def test_a_document_is_one_sequence_of_megatron_s_however_samples_cut_it(
    packing: str, tmp_path: Path
) -> None:
    folder = scenario.write_document_dataset(tmp_path / "d", packing=packing)
    sequences, documents, dtype = read_megatron(exported(folder, "megatron"))
    first, second, long, third, fourth, fifth, sixth = documents_of_chunks()
    last = [sixth, fifth] if packing == "best_fit" else [fifth, sixth]
    assert sequences == [first, second, long, third, fourth, *last]
    assert len(long) > open_dataset(folder).seq_length
    assert (documents, dtype) == ([*range(8)], "uint16")


def test_what_carries_no_boundaries_says_so_and_knows_the_text_of_each_sample(
    tmp_path: Path,
) -> None:
    folder = scenario.write_document_dataset(tmp_path / "d", max_dump_size=8)
    counts = [sum(lengths) for lengths in BEST_FIT]
    arrays = exported(folder, "npy")
    assert np.load(arrays / "text_tokens.npy").tolist() == counts
    samples = read_mds(exported(folder, "mds"))
    assert [sample["text_tokens"] for sample in samples] == [[count] for count in counts]
    for to in ("npy", "mds"):
        said = json.loads((folder.with_name(f"d-{to}") / "codedata.json").read_text())
        assert said["boundaries"] == "not carried"
