"""Where documents lie in the samples of a shard <-> the bytes of `dump-N.documents.npy`.

int32 (num_spans, 6), a row `SPAN_COLUMNS`, after a header of numpy's format 1.0 that has one form
for each number of rows: it is read by comparing bytes, and the rest is a view of the file.
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

What is read is what packing makes: the spans of each sample follow each other from its first token
on, and no two of a document overlap.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import SPAN_COLUMNS, Form, Spans
from codedata.format.shards import Bytes

_HEADER_BYTES = 128
"""As numpy pads it, whatever the number of rows: the array is aligned to 64 bytes."""

_SPAN_BYTES = 4 * len(SPAN_COLUMNS)


def _header(num_spans: int) -> bytes:
    told = (
        f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({num_spans}, {len(SPAN_COLUMNS)}), }}"
    )
    before = b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little")
    return before + told.encode().ljust(_HEADER_BYTES - 11) + b"\n"


def encode_spans(spans: Spans) -> bytes:
    """The bytes of `dump-N.documents.npy`."""
    return _header(len(spans)) + np.ascontiguousarray(spans, "<i4").tobytes()


def num_spans_in(num_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many spans files of so many bytes have; -1 where no spans take as many."""
    num_spans, rest = np.divmod(num_bytes - _HEADER_BYTES, _SPAN_BYTES)
    return np.where((rest == 0) & (num_spans >= 0), num_spans, -1)


def view_spans(
    data: Bytes, *, num_samples: int, seq_length: int, name: str, is_checked: bool = False
) -> Spans:
    """The spans of a shard, as a view of its file, once what must hold was found to.

    Args:
        data: uint8, shape (num_bytes,), usually a mapped file.
        num_samples: of the shard, as the meta says.
        seq_length: tokens a sample, likewise.
        name: the file, for messages.
        is_checked: these very bytes were, and only how many they are is looked at.

    Returns:
        Read-only, int32 (little-endian), shape (num_spans, 6).

    Raises:
        DatasetError: it is no such file, or its spans are not those of so many samples.
    """
    num_spans, rest = divmod(len(data) - _HEADER_BYTES, _SPAN_BYTES)
    if rest or num_spans < 0 or data[:_HEADER_BYTES].tobytes() != _header(num_spans):
        raise DatasetError(
            f"{name} is damaged or was not written as spans: {len(data)} bytes that do not begin "
            "with the header of that many; make the dataset again"
        )
    spans = data[_HEADER_BYTES:].view("<i4").reshape(num_spans, len(SPAN_COLUMNS))
    spans.flags.writeable = False
    wrong = None if is_checked else _first_wrong(spans, num_samples, seq_length)
    if wrong is not None:
        span, what = wrong
        raise DatasetError(f"span {span} of {name} {what}; make the dataset again")
    return spans


def _first_wrong(spans: Spans, num_samples: int, seq_length: int) -> tuple[int, str] | None:
    """The number of the first span that breaks a rule, and which."""
    found = [
        (int(np.argmax(is_wrong)), what)
        for is_wrong, what in _broken(spans, num_samples, seq_length)
        if is_wrong.any()
    ]
    if found:
        return min(found)
    last = int(spans[-1, 0]) if len(spans) else -1
    if last != num_samples - 1:
        return len(spans), f"is missing: sample {last + 1} of {num_samples} has none"
    return None


def _broken(
    spans: Spans, num_samples: int, seq_length: int
) -> Iterator[tuple[NDArray[np.bool_], str]]:
    """For each rule which spans break it, shape (num_spans,), and what is to be said of one."""
    # int64, in which nothing that int32 holds overflows; a column is contiguous.
    sample, start, stop, document, first_token, form = spans.T.astype(np.int64, order="C")
    step = np.diff(sample, prepend=-1)
    yield (step < 0) | (step > 1) | (sample >= num_samples), "is not of the sample that comes next"
    expected = np.where(step == 0, np.concatenate([[0], stop])[:-1], 0)
    yield start != expected, "does not start where the one before it stops"
    yield (stop <= start) | (stop > seq_length), f"does not stop within its {seq_length} tokens"
    yield document < 0, "is of no document"
    yield first_token < 0, "has a negative first_token"
    yield (form < Form.PLAIN) | (form > Form.SPM), "has no form that there is"
    by_token = np.argsort(document << 31 | first_token, kind="stable")
    overlaps = np.zeros(len(spans), np.bool_)
    before, after = by_token[:-1], by_token[1:]
    reaches = first_token[before] + (stop - start)[before]
    overlaps[after] = (document[before] == document[after]) & (reaches > first_token[after])
    yield overlaps, "has tokens of its document that another has"
