"""Packing the ids of one chunk: samples worked out by hand, then against a plain loop."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codedata.format.packing import count_samples, id_dtype, pack_samples, split_shards

PAD = 99


def packed(num_tokens: int, **setting: int) -> list[list[int]]:
    """The samples of the ids 1, 2, 3, ..., which tell their places."""
    ids = np.arange(1, num_tokens + 1, dtype=np.uint16)
    samples = pack_samples(ids, pad_token=PAD, **setting)
    assert samples.shape == (count_samples(num_tokens, **setting), setting["seq_length"])
    return samples.tolist()


BY_HAND = {
    (4, 2): {
        0: [],
        2: [],
        3: [[1, 2, 3, PAD]],
        4: [[1, 2, 3, 4]],
        6: [[1, 2, 3, 4]],
        7: [[1, 2, 3, 4], [5, 6, 7, PAD]],
        10: [[1, 2, 3, 4], [5, 6, 7, 8]],
        11: [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, PAD]],
    },
    (3, 0): {0: [], 1: [[1, PAD, PAD]], 3: [[1, 2, 3]], 4: [[1, 2, 3], [4, PAD, PAD]]},
    (3, 5): {5: [], 6: [[1, 2, 3]], 8: [[1, 2, 3]], 9: [[1, 2, 3], [4, 5, 6]]},
}
"""(seq_length, min_sample_length): tokens and their samples.

With 0 no token is dropped; with more than seq_length last samples are dropped though they are full.
"""


def test_a_rest_of_min_sample_length_is_dropped_and_a_longer_one_padded() -> None:
    for (seq_length, least), expected in BY_HAND.items():
        for num_tokens, samples in expected.items():
            assert packed(num_tokens, seq_length=seq_length, min_sample_length=least) == samples


def test_the_validation_setting_of_the_reference() -> None:
    """seq_length 512 with min_sample_length 1000: starts 0, 512, ... below num_tokens - 1000."""
    for num_tokens, num_samples in ((1000, 0), (1001, 1), (1512, 1), (1513, 2), (2025, 3)):
        samples = packed(num_tokens, seq_length=512, min_sample_length=1000)
        assert samples == [[*range(512 * i + 1, 512 * i + 513)] for i in range(num_samples)]


@pytest.mark.parametrize(
    ("dtype", "pad_token"),
    [
        *((np.uint16, 65_536), (np.uint16, 2**31 - 1), (np.uint8, 256), (np.uint8, 70_000)),
        *((np.int32, 2**31 - 1), (np.uint32, 2**31 - 1), (np.int64, 5)),
    ],
)
def test_a_pad_wider_than_the_ids_keeps_its_value(dtype: Any, pad_token: int) -> None:
    ids = np.array([1, 0, 255], dtype)
    samples = pack_samples(ids, seq_length=5, min_sample_length=1, pad_token=pad_token)
    assert samples.tolist() == [[1, 0, 255, pad_token, pad_token]]
    assert ids.dtype == dtype, "the ids themselves are left as they are"


def test_where_nothing_is_padded_no_id_is_copied() -> None:
    ids = np.arange(10, dtype=np.uint16)
    samples = pack_samples(ids, seq_length=4, min_sample_length=2, pad_token=2**31 - 1)
    assert samples.shape == (2, 4)
    assert np.shares_memory(samples, ids)
    assert samples.dtype == np.uint16


def test_ids_take_two_bytes_up_to_65535_and_four_above() -> None:
    widths = [id_dtype(largest).name for largest in (0, 65_535, 65_536, 2**31 - 1)]
    assert widths == ["uint16", "uint16", "int32", "int32"]


def plain_samples(
    ids: list[int], seq_length: int, min_sample_length: int, pad_token: int
) -> list[list[int]]:
    """The rule as the format states it."""
    samples: list[list[int]] = []
    start = 0
    while start < len(ids) - min_sample_length:
        sample = ids[start : start + seq_length]
        samples.append(sample + [pad_token] * (seq_length - len(sample)))
        start += seq_length
    return samples


@given(
    ids=st.lists(st.integers(0, 65_535), max_size=120),
    seq_length=st.integers(1, 40),
    min_sample_length=st.integers(0, 60),
    pad_token=st.sampled_from([0, 5, 65_535, 65_536, 2**31 - 1]),
    dtype=st.sampled_from([np.uint16, np.uint32, np.int32, np.int64]),
)
@example(ids=[1] * 40, seq_length=40, min_sample_length=40, pad_token=0, dtype=np.uint16)
@example(ids=[1] * 41, seq_length=40, min_sample_length=40, pad_token=65_536, dtype=np.uint16)
def test_packing_gives_the_samples_of_a_plain_loop(
    ids: list[int], seq_length: int, min_sample_length: int, pad_token: int, dtype: Any
) -> None:
    given_ids = np.array(ids, dtype)
    samples = pack_samples(
        given_ids,
        seq_length=seq_length,
        min_sample_length=min_sample_length,
        pad_token=pad_token,
    )
    assert samples.shape[1] == seq_length
    assert samples.tolist() == plain_samples(ids, seq_length, min_sample_length, pad_token)
    assert given_ids.tolist() == ids, "the ids are not changed"


@pytest.mark.parametrize(
    ("num_samples", "max_dump_size", "sizes"),
    [
        *((0, 3, []), (1, 3, [1]), (3, 3, [3]), (4, 3, [3, 1]), (6, 3, [3, 3])),
        *((7, 3, [3, 3, 1]), (3, 1, [1, 1, 1]), (3, 2**62, [3])),
    ],
)
def test_shards_take_max_dump_size_samples_and_the_last_one_the_rest(
    num_samples: int, max_dump_size: int, sizes: list[int]
) -> None:
    samples = np.arange(num_samples * 2, dtype=np.uint16).reshape(num_samples, 2)
    shards = list(split_shards(samples, max_dump_size))
    assert [len(shard) for shard in shards] == sizes
    assert [row for shard in shards for row in shard.tolist()] == samples.tolist()
    assert all(np.shares_memory(shard, samples) for shard in shards), "no sample is copied"
