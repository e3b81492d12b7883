"""dump-N.documents.npy: its bytes, what numpy makes of them, and every damage."""

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.errors import DatasetError
from codedata.format.documents import SPAN_COLUMNS, Spans
from codedata.format.spans import encode_spans, view_spans

SPANS = [
    [0, 0, 3, 0, 0, 0],
    [0, 3, 8, 2, 4, 1],
    [1, 0, 7, 1, 8, 2],
    [2, 0, 4, 2, 0, 0],
    [2, 4, 6, 1, 15, 0],
]
"""Of three samples of eight tokens."""


def view(data: bytes, num_samples: int = 3) -> Spans:
    array = np.frombuffer(data, np.uint8)
    return view_spans(array, num_samples=num_samples, seq_length=8, name="dump-7.documents.npy")


def refusal(data: bytes, num_samples: int = 3) -> str:
    with pytest.raises(DatasetError) as error:
        view(data, num_samples)
    message = str(error.value)
    assert "dump-7.documents.npy" in message
    assert "\n" not in message
    return message


def test_the_bytes_are_those_that_numpy_writes_and_reads() -> None:
    for num_spans in (0, 1, 5, 1234):
        spans = np.arange(num_spans * 6, dtype="<i4").reshape(num_spans, 6)
        file = io.BytesIO()
        np.lib.format.write_array(file, spans, version=(1, 0), allow_pickle=False)
        data = encode_spans(spans)
        assert data == file.getvalue()
        assert np.load(io.BytesIO(data), allow_pickle=False).tolist() == spans.tolist()
        assert len(data) == 128 + 24 * num_spans
    spans = np.array(SPANS, np.int32)
    assert encode_spans(np.asfortranarray(spans)) == encode_spans(spans.astype(">i4"))


def test_the_columns_are_these() -> None:
    assert SPAN_COLUMNS == ("sample", "start", "stop", "document", "first_token", "form")


def test_the_view_is_read_only_and_of_the_same_memory() -> None:
    data = np.frombuffer(encode_spans(np.array(SPANS)), np.uint8)
    spans = view_spans(data, num_samples=3, seq_length=8, name="x")
    assert spans.tolist() == SPANS
    assert spans.dtype == "<i4"
    assert np.shares_memory(spans, data)
    assert not spans.flags.writeable


@pytest.mark.parametrize(
    ("span", "column", "value", "wrong", "what"),
    [
        (0, "sample", 1, 0, "is not of the sample that comes next"),
        (2, "sample", 2, 2, "is not of the sample that comes next"),
        (3, "sample", 0, 3, "is not of the sample that comes next"),
        (3, "sample", 3, 3, "is not of the sample that comes next"),
        (3, "sample", 2**31 - 1, 3, "is not of the sample that comes next"),
        (1, "sample", 1, 1, "does not start where the one before it stops"),
        (0, "start", 1, 0, "does not start where the one before it stops"),
        (1, "start", 4, 1, "does not start where the one before it stops"),
        (1, "start", 2, 1, "does not start where the one before it stops"),
        (4, "start", -(2**31), 4, "does not start where the one before it stops"),
        (0, "stop", 4, 1, "does not start where the one before it stops"),
        (1, "stop", 9, 1, "does not stop within its 8 tokens"),
        (1, "stop", 3, 1, "does not stop within its 8 tokens"),
        (4, "stop", -(2**31), 4, "does not stop within its 8 tokens"),
        (2, "document", -1, 2, "is of no document"),
        (0, "first_token", -1, 0, "has a negative first_token"),
        (0, "form", 3, 0, "has no form that there is"),
        (4, "form", -1, 4, "has no form that there is"),
        (4, "first_token", 14, 4, "has tokens of its document that another has"),
        (2, "first_token", 9, 4, "has tokens of its document that another has"),
        (1, "first_token", 0, 3, "has tokens of its document that another has"),
        (2, "first_token", 2**31 - 1, None, ""),
        (4, "document", 2**31 - 1, None, ""),
    ],
)
def test_what_packing_never_makes_is_refused_where_it_stands(
    span: int, column: str, value: int, wrong: int | None, what: str
) -> None:
    spans = np.array(SPANS, np.int32)
    spans[span, SPAN_COLUMNS.index(column)] = value
    if wrong is None:
        assert view(encode_spans(spans)).tolist() == spans.tolist()
    else:
        assert refusal(encode_spans(spans)).startswith(
            f"span {wrong} of dump-7.documents.npy {what}"
        )


def test_each_sample_has_a_span() -> None:
    spans = np.array(SPANS, np.int32)
    assert "span 5 of" in refusal(encode_spans(spans), num_samples=4)
    assert "is missing: sample 3 of 4 has none" in refusal(encode_spans(spans), num_samples=4)
    assert "span 3 of" in refusal(encode_spans(spans), num_samples=2)
    assert "sample 0 of 3 has none" in refusal(encode_spans(spans[:0]))


def test_only_the_header_of_so_many_spans_is_read() -> None:
    data = encode_spans(np.array(SPANS))
    for other in (
        *(b"", data[:128], data[:-1], data[:-24], data + bytes(24), data + b"\0"),
        data.replace(b"(5, 6)", b"(05,6)"),
        data.replace(b"<i4", b"<u4"),
        data.replace(b"False", b" True"),
        data.replace(b"}  ", b"} ,"),
        data.replace(b"\x01\x00", b"\x02\x00", 1),
        data.replace(b"'<i4'", b"'|O' "),
    ):
        assert other != data
        assert "is damaged or was not written as spans" in refusal(other)


@given(bit=st.integers(0, 8 * (128 + 24 * len(SPANS)) - 1))
def test_a_flipped_bit_is_refused_or_changes_one_figure_of_a_span(bit: int) -> None:
    data = bytearray(encode_spans(np.array(SPANS)))
    data[bit // 8] ^= 1 << bit % 8
    try:
        spans = view(bytes(data))
    except DatasetError:
        refusal(bytes(data))
    else:
        assert bit >= 128 * 8
        changed = np.argwhere(spans != np.array(SPANS)).tolist()
        assert [SPAN_COLUMNS[column] for _, column in changed] in (
            [["document"], ["first_token"], ["form"], ["stop"]]
        )


VALUES = st.integers(0, 9) | st.sampled_from([-1, -(2**31), 2**31 - 1])


@given(rows=st.lists(st.lists(VALUES, min_size=6, max_size=6), max_size=4))
def test_what_is_read_is_what_a_plain_loop_says_packing_makes(rows: list[list[int]]) -> None:
    taken: set[tuple[int, int]] = set()
    last, end, is_right = -1, 8, True
    for sample, start, stop, document, first_token, form in rows:
        is_right &= (sample, start) in ((last, end), (last + 1, 0)) and start < stop <= 8
        is_right &= document >= 0 <= first_token and form in (0, 1, 2)
        if is_right:
            tokens = {(document, first_token + token) for token in range(stop - start)}
            is_right &= not tokens & taken
            taken |= tokens
        last, end = sample, stop
    data = encode_spans(np.array(rows, np.int32).reshape(-1, 6))
    if is_right:
        assert view(data, last + 1).tolist() == rows
    else:
        refusal(data, max(last, 0) + 1)


@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused_in_a_line(data: bytes) -> None:
    refusal(data)


def test_no_text_of_a_header_is_evaluated() -> None:
    told: dict[str, Any] = {"descr": "<i4", "fortran_order": False, "shape": (5, 6)}
    assert "is damaged" in refusal(json.dumps(told).encode().ljust(128 + 24 * 5))
