r"""A dataset -> `samples.bin` and `samples.idx`, as Megatron-Core's IndexedDataset reads them.

Each sample is a sequence and a document of its own, in order; padding is left out where the meta
says what it is, since Megatron joins documents and cuts them anew. The index is

    MMIDIDX\0\0   version: 1, u64   dtype: 8 (uint16) or 4 (int32), u8
    number of sequences, u64        number of documents + 1, u64
    length of each sequence, i32    its first byte in samples.bin, i64
    the first sequence of each document, and the end, i64

Source: megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.
"""

import struct
from pathlib import Path

import numpy as np

from codedata.export.blocks import blocks, ids_dtype, text_tokens, write_origin
from codedata.store.dataset_folder import Dataset

_DTYPE_CODES = {"uint16": 8, "int32": 4}


def write(dataset: Dataset, folder: Path) -> None:
    """Write ids, index and origin of a dataset."""
    dtype, num_samples = ids_dtype(dataset), dataset.num_samples
    lengths = text_tokens(dataset)
    if lengths is None:
        lengths = np.full(num_samples, dataset.seq_length, np.int32)
    columns, row = np.arange(dataset.seq_length), 0
    with open(folder / "samples.bin", "wb") as file:
        for ids in dataset.shards:
            for block in blocks(ids, dtype):
                kept = columns < lengths[row : row + len(block), np.newaxis]
                file.write((block if kept.all() else block[kept]).data)
                row += len(block)
    ends = np.cumsum(lengths, dtype=np.int64) * dtype.itemsize
    with open(folder / "samples.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00")
        file.write(struct.pack("<QBQQ", 1, _DTYPE_CODES[dtype.name], num_samples, num_samples + 1))
        file.write(lengths.astype("<i4").data)
        file.write((ends - lengths * np.int64(dtype.itemsize)).astype("<i8").data)
        file.write(np.arange(num_samples + 1, dtype="<i8").data)
    write_origin(dataset, folder)
