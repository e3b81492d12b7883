"""A dataset -> numpy arrays that are mapped: `numpy.load(path, mmap_mode="r")`.

input_ids.npy     uint16 or int32, shape (num_samples, seq_length)
text_tokens.npy   int32, shape (num_samples,), where the meta says how many are the text's
codedata.json     digest, num_samples, seq_length; with documents, boundaries

Where documents lie in samples is not carried.
"""

from pathlib import Path

import numpy as np

from codedata.export.blocks import NOT_CARRIED, blocks, ids_dtype, text_tokens, write_origin
from codedata.store.dataset_folder import Dataset

BOUNDARIES = NOT_CARRIED


def write(dataset: Dataset, folder: Path) -> None:
    """Write the arrays of a dataset."""
    dtype = ids_dtype(dataset)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (dataset.num_samples, dataset.seq_length),
    }
    with open(folder / "input_ids.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for ids in dataset.shards:
            file.writelines(block.data for block in blocks(ids, dtype))
    counts = text_tokens(dataset)
    if counts is not None:
        np.save(folder / "text_tokens.npy", counts)
    write_origin(dataset, folder, BOUNDARIES)
