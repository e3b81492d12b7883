r"""A dataset -> `samples.bin` and `samples.idx`, as Megatron-Core's IndexedDataset reads them.

Each sample is a sequence and a document of its own, in order; padding is left out where the meta
says what it is, since Megatron joins documents and cuts them anew. Of a dataset with documents each
of them is a sequence, in the order in which the samples have them: its spans are put together
again, since Megatron's GPTDataset deals out sequences one by one, and would take parts of one for
documents of their own. One that concat left without its end has none here. The index is

    MMIDIDX\0\0   version: 1, u64   dtype: 8 (uint16) or 4 (int32), u8
    number of sequences, u64        number of documents + 1, u64
    length of each sequence, i32    its first byte in samples.bin, i64
    the first sequence of each document, and the end, i64

Source: megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codedata.export.blocks import blocks, ids_dtype, text_tokens, write_origin
from codedata.store.dataset_folder import Dataset

BOUNDARIES = "sequences"

_DTYPE_CODES = {"uint16": 8, "int32": 4}


def write(dataset: Dataset, folder: Path) -> None:
    """Write ids, index and origin of a dataset."""
    dtype = ids_dtype(dataset)
    write_ids = _write_documents if dataset.spans else _write_samples
    with open(folder / "samples.bin", "wb") as file:
        lengths = write_ids(dataset, dtype, file)
    ends = np.cumsum(lengths, dtype=np.int64) * dtype.itemsize
    number = len(lengths)
    with open(folder / "samples.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00")
        file.write(struct.pack("<QBQQ", 1, _DTYPE_CODES[dtype.name], number, number + 1))
        file.write(lengths.astype("<i4").data)
        file.write((ends - lengths * np.int64(dtype.itemsize)).astype("<i8").data)
        file.write(np.arange(number + 1, dtype="<i8").data)
    write_origin(dataset, folder, BOUNDARIES)


def _write_samples(dataset: Dataset, dtype: np.dtype[Any], file: BinaryIO) -> NDArray[np.int32]:
    """Write each sample; how many tokens it has, shape (num_samples,)."""
    lengths = text_tokens(dataset)
    if lengths is None:
        lengths = np.full(dataset.num_samples, dataset.seq_length, np.int32)
    columns, row = np.arange(dataset.seq_length), 0
    for ids in dataset.shards:
        for block in blocks(ids, dtype):
            kept = columns < lengths[row : row + len(block), np.newaxis]
            file.write((block if kept.all() else block[kept]).data)
            row += len(block)
    return lengths


def _write_documents(dataset: Dataset, dtype: np.dtype[Any], file: BinaryIO) -> NDArray[np.int32]:
    """Write each document; how many tokens it has, shape (num_documents,)."""
    lengths: list[NDArray[np.int32]] = []
    for shards in dataset.chunks():
        which = np.repeat(shards, [len(dataset.spans[shard]) for shard in shards])
        spans = np.concatenate([dataset.spans[shard] for shard in shards])
        _, firsts, numbers = np.unique(spans[:, 3], return_index=True, return_inverse=True)
        met = firsts[numbers]  # where a document is met first
        by_document = np.lexsort((spans[:, 4], met))
        places = zip(which[by_document].tolist(), spans[by_document].tolist(), strict=True)
        file.writelines(
            dataset.shards[shard][row, start:stop].astype(dtype).data
            for shard, (row, start, stop, *_) in places
        )
        begins = np.flatnonzero(np.diff(met[by_document], prepend=-1))
        lengths.append(np.add.reduceat((spans[:, 2] - spans[:, 1])[by_document], begins))
    return np.concatenate(lengths)
