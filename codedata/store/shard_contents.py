"""The bytes of the files of a dataset -> arrays and tables, once they are what its meta says.

Nothing is unpickled.
"""

import hashlib
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import Spans
from codedata.format.foreign_shards import decode_foreign_shard
from codedata.format.meta import ShardEntry, documents_name
from codedata.format.shards import Bytes, is_fixed_width, view_shard
from codedata.format.spans import view_spans
from codedata.store.base import Snapshot
from codedata.store.files import release_pages

REMEDY = "make the dataset again"
"""Of damage."""


def read_shard(
    data: Bytes,
    where: str,
    entry: ShardEntry,
    *,
    is_checked: bool = False,
    is_hashed: bool = False,
) -> NDArray[Any]:
    """The ids of one shard, checked; shape (num_samples, seq_length).

    Args:
        data: of its file.
        where: it is, for messages.
        entry: what the meta says of it.
        is_checked: these very bytes were, structure and hash.
        is_hashed: their hash was, as that of what arrives from elsewhere.

    Raises:
        DatasetError: it is damaged or of another shape.
    """
    if not len(data):
        raise empty(where)
    if not (is_checked or is_hashed):
        _require_sha256(data, entry.sha256, where)
    read = partial(view_shard, is_checked=is_checked)
    if not is_fixed_width(data):
        read = decode_foreign_shard
    ids = read(data, num_samples=entry.num_samples, seq_length=entry.seq_length, name=where)
    if not is_checked:
        release_pages(data)
    return ids


def read_spans(
    data: Bytes,
    where: str,
    entry: ShardEntry,
    *,
    is_checked: bool = False,
    is_hashed: bool = False,
) -> Spans:
    """Where documents lie in a shard, checked; arguments and errors as of `read_shard`."""
    if not (is_checked or is_hashed):
        _require_sha256(data, entry.spans_sha256, where)
    spans = view_spans(
        data,
        num_samples=entry.num_samples,
        seq_length=entry.seq_length,
        name=where,
        is_checked=is_checked,
    )
    if is_checked:
        return spans
    found = int((spans[:, 2] - spans[:, 1]).sum(dtype=np.int64)), int(spans[-1, 2])
    if found != (entry.num_text_tokens, entry.last_sample_tokens or found[1]):
        raise DatasetError(
            f"{where} has spans of {found[0]} tokens, of the last sample up to {found[1]}, where "
            f"its meta states {entry.num_text_tokens} (num_text_tokens) and "
            f"{entry.last_sample_tokens} (last_sample_tokens); make the dataset again"
        )
    release_pages(spans)
    return spans


def read_documents(snapshot: Snapshot, index: int, entry: ShardEntry) -> Any:
    """Which documents a shard has, as `Dataset.documents` gives them; hashed in any case.

    Raises:
        FileNotFoundError: it is not there.
        DatasetError: it is damaged.
    """
    # A tenth of a second of pyarrow, which training does without.
    from codedata.format.sidecars import parse_documents

    where = f"{snapshot.where}/{documents_name(index)}"
    data = snapshot.map(documents_name(index))
    _require_sha256(data, entry.documents_sha256, where)
    return parse_documents(data.tobytes(), where)


def with_remedy(error: DatasetError, remedy: str) -> DatasetError:
    """What is said of a damaged dataset, with what helps if not the dataset is at fault."""
    what = str(error).removesuffix(REMEDY)
    return DatasetError(what + remedy) if what != str(error) else error


def empty(where: str) -> DatasetError:
    """What is said of a file without a byte."""
    return DatasetError(f"{where} is empty; make the dataset again")


def _require_sha256(data: Bytes, sha256: str | None, where: str) -> None:
    if sha256 is not None and hashlib.sha256(data.data).hexdigest() != sha256:
        raise DatasetError(
            f"{where} does not have the sha256 that its meta states; make the dataset again"
        )
