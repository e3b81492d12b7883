"""Datasets with documents in a folder: sidecars are read as they were written, and damage named."""

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codedata.errors import DatasetError
from codedata.format.documents import Form
from codedata.format.meta import META_NAME, ShardEntry, dump_meta, parse_meta
from codedata.format.sidecars import encode_documents
from codedata.format.spans import encode_spans
from codedata.store.dataset_folder import open_dataset
from codedata_tests.scenario import write_dataset, write_document_dataset

SPANS, DOCUMENTS = "dump-0.documents.npy", "dump-0.documents.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_document_dataset(tmp_path / "dataset", forms={1: Form.PSM})


def read(folder: Path, *, verify: bool, touched: bool) -> None:
    opened = open_dataset(folder, verify=verify)
    if touched:
        list(opened.spans)


def refusal(folder: Path, *, verify: bool = False, touched: bool = False) -> str:
    with pytest.raises(DatasetError) as error:
        read(folder, verify=verify, touched=touched)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_spans_and_documents_are_read_as_they_were_written(folder: Path) -> None:
    """What best fit makes of documents of 5, 3, 20, 0 and 6 tokens, and of 4, 8 and 2."""
    for verify in (False, True):
        dataset = open_dataset(folder, verify=verify)
        assert [spans.tolist() for spans in dataset.spans] == [
            [[0, 0, 5, 0, 0, 0], [0, 5, 8, 1, 0, 1], [1, 0, 8, 2, 0, 0]],
            [[0, 0, 8, 2, 8, 0], [1, 0, 4, 2, 16, 0]],
            [[0, 0, 6, 4, 0, 0]],
            [[0, 0, 4, 0, 0, 0], [0, 4, 6, 2, 0, 0], [1, 0, 8, 1, 0, 1]],
        ]
        assert not any(spans.flags.writeable for spans in dataset.spans)
        assert [entry.num_text_tokens for entry in dataset.entries] == [16, 12, 6, 14]
        tables = [dataset.documents(index).to_pydict() for index in range(4)]
        assert [table["document"] for table in tables] == [[0, 1, 2, 3], [2], [4], [0, 1, 2]]
        assert tables[0]["decision"] == ["kept", "kept", "kept", "empty"]
        assert tables[0]["path"] == [None, "src/1.c", "src/2.c", "src/3.c"]
        assert dataset.documents(-1).to_pydict() == tables[3]
        with pytest.raises(IndexError):
            dataset.documents(4)


def test_spans_outlive_their_folder_and_its_documents_do_not(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(folder)
    folder.rename(tmp_path / "elsewhere")
    assert dataset.spans[2].tolist() == [[0, 0, 6, 4, 0, 0]]
    assert dataset.documents(0).num_rows == 4, "it is the folder that was opened"
    shutil.rmtree(tmp_path / "elsewhere")
    assert dataset.spans[1].tolist() == [[0, 0, 8, 2, 8, 0], [1, 0, 4, 2, 16, 0]]
    write_document_dataset(folder, packing="concat")
    with pytest.raises(DatasetError, match=rf"{folder} was replaced since it was opened; open it"):
        dataset.documents(1)
    assert open_dataset(folder).documents(0).num_rows == 4


def test_documents_of_another_dataset_in_the_same_folder_are_refused_as_that(folder: Path) -> None:
    dataset = open_dataset(folder)
    other = write_document_dataset(folder.parent / "other", packing="concat")
    shutil.copytree(other, folder, dirs_exist_ok=True)
    with pytest.raises(DatasetError, match=rf"{folder} was replaced since it was opened; open it"):
        dataset.documents(1)


def test_a_dataset_without_a_recipe_has_neither_spans_nor_documents(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "d", [[[1, 2]]]), verify=True)
    assert not dataset.spans
    with pytest.raises(DatasetError, match="does not say which documents it has: it was made wi"):
        dataset.documents(0)


def test_the_loader_of_the_old_script_and_plain_pickle_read_the_folder(folder: Path) -> None:
    """As `dataset.py` of the old script does: the folder's only .json is the meta."""
    [meta] = [name for name in os.listdir(folder) if name.endswith(".json")]
    named = json.loads((folder / meta).read_text(encoding="utf-8"))
    assert all(type(value) in (int, str) for entry in named.values() for value in entry.values())
    dataset = open_dataset(folder)
    for name, samples in zip(named, dataset.shards, strict=True):
        with open(folder / name, "rb") as file:
            assert pickle.load(file) == samples.tolist()
    assert sum(each["num_samples"] for each in named.values()) == dataset.num_samples


# Damage

Damage = Callable[[Path], object]


def changed(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced(make: Damage) -> Damage:
    return lambda path: (path.unlink(), make(path))


STRANGE: dict[str, tuple[Damage, str]] = {
    "gone": (Path.unlink, "{folder} lacks {name}, which its meta names; make the dataset again"),
    "a device": (
        replaced(lambda path: path.symlink_to("/dev/zero")), "{path} is not a plain file"
    ),
    "a link to itself": (
        replaced(lambda path: path.symlink_to(path.name)), "{path} cannot be opened: it is a link"
    ),
    "a link to nothing": (
        replaced(lambda path: path.symlink_to("nothing")), "{path} cannot be opened: it is a link"
    ),
    "a pipe": (replaced(os.mkfifo), "{path} is not a plain file"),
    "a folder": (replaced(Path.mkdir), "{path} is not a plain file"),
}  # fmt: skip
OF_SPANS: dict[str, tuple[Damage, str]] = {
    "empty": (changed(lambda _: b""), "{path} "),
    "cut off": (changed(lambda data: data[:-1]), "{path} "),
    "fewer spans than samples": (changed(lambda data: data[:-48]), "{path} "),
    "many rows more": (changed(lambda data: data + 20 * data[-24:]), "{path} "),
    "HTML": (changed(lambda _: b"<!DOCTYPE html>" * 20), "{path} "),
}  # fmt: skip
"""Found at opening; every rule of spans: `format/test_spans.py`."""
OF_THEIR_SIZE: dict[str, Damage] = {
    "a row less": changed(lambda data: data[:-24]),
    "a row more": changed(lambda data: data + data[-24:]),
    "another shard's": lambda path: shutil.copy(path.with_name("dump-1.documents.npy"), path),
    "a span moved": changed(lambda data: data.replace(b"\5\0\0\0", b"\4\0\0\0", 1)),
}


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        *((SPANS, *each) for each in (STRANGE | OF_SPANS).values()),
        *((DOCUMENTS, *each) for each in STRANGE.values()),
    ],
)
def test_a_sidecar_that_is_gone_strange_or_of_another_structure_is_refused_at_once(
    name: str, damage: Damage, message: str, folder: Path
) -> None:
    path = folder / name
    damage(path)
    assert refusal(folder).startswith(message.format(folder=folder, name=name, path=path))
    assert name in refusal(folder, verify=True)


@pytest.mark.parametrize("damage", OF_THEIR_SIZE.values(), ids=OF_THEIR_SIZE)
def test_spans_that_are_damaged_within_are_refused_before_any_is_given(
    damage: Damage, folder: Path
) -> None:
    damage(folder / SPANS)
    opened = open_dataset(folder)
    assert opened.spans[1].shape == (2, 6)
    with pytest.raises(DatasetError, match=f"{folder / SPANS} does not have the sha256 that"):
        opened.spans[0]
    assert SPANS in refusal(folder, verify=True)


@pytest.mark.parametrize("every", [pytest.param(61, marks=pytest.mark.campaign), 401])
@pytest.mark.parametrize("name", [SPANS, DOCUMENTS])
def test_every_flipped_bit_prefix_and_byte_more_of_a_sidecar_is_refused(
    name: str, every: int, folder: Path
) -> None:
    path = folder / name
    data, opened = path.read_bytes(), open_dataset(folder)
    every = every // 20 if name == SPANS else every
    bits = range(0, len(data) * 8, every | 1)
    damaged = [data[:length] for length in range(0, len(data), every // 3)]
    damaged += [data + byte for byte in (b"\0", b"\n", b"P", b"\xff")]
    for bit in bits:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    assert len(damaged) > 40
    for each in damaged:
        path.write_bytes(each)
        assert str(path) in refusal(folder, verify=True)
        if name == DOCUMENTS and each:
            assert len(open_dataset(folder).spans) == 4
            with pytest.raises(DatasetError, match=re.escape(f"{path} does not have the sha256")):
                opened.documents(0)
        else:
            assert str(path) in refusal(folder, touched=True)
    path.write_bytes(data)
    assert open_dataset(folder, verify=True).digest == opened.digest


def test_a_sidecar_that_the_meta_does_not_name_is_refused_and_a_file_of_another_name_passed_over(
    folder: Path, tmp_path: Path
) -> None:
    plain = write_dataset(tmp_path / "plain", [[[1, 2]]])
    for each, name in (
        (plain, "dump-0.documents.npy"),
        (plain, "dump-0.documents.parquet"),
        (folder, "dump-4.documents.npy"),
        (folder, "dump-99.documents.parquet"),
    ):
        (each / name).touch()
        assert refusal(each).startswith(f"{each} holds {name}, which its meta does not name: ")
        (each / name).unlink()
    for name in ("dump-04.documents.npy", "dump-4.documents.npy.bak", "documents.parquet"):
        (folder / name).write_bytes(b"garbage")
    assert open_dataset(folder, verify=True).num_shards == 4


def forged(folder: Path, change: Callable[[ShardEntry], ShardEntry]) -> Path:
    """The folder, its meta's first entry another one, all hashes true."""
    [entry, *others] = parse_meta((folder / META_NAME).read_bytes(), "meta")
    entry = change(entry)
    hashes = {
        key: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for key, name in (("spans_sha256", SPANS), ("documents_sha256", DOCUMENTS))
    }
    (folder / META_NAME).write_bytes(dump_meta([entry._replace(**hashes), *others]))
    return folder


def test_a_meta_that_says_other_counts_than_the_spans_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    forged(folder, lambda entry: entry._replace(num_text_tokens=15))
    message = refusal(folder, touched=True)
    assert message.startswith(f"{folder / SPANS} has spans of 16 tokens")
    concat = write_document_dataset(tmp_path / "concat", packing="concat")
    spans = np.array(open_dataset(concat).spans[0])
    spans[1, 2] -= 1  # the first sample is not full, which the last one makes up for
    (concat / SPANS).write_bytes(encode_spans(spans))
    lacks_one = forged(
        concat, lambda entry: entry._replace(num_text_tokens=15, last_sample_tokens=7)
    )
    message = refusal(lacks_one, touched=True)
    assert message.startswith(f"{concat / SPANS} has spans of 15 tokens, of the last sample up to")


def test_spans_of_a_document_that_the_table_lacks_do_not_verify(folder: Path) -> None:
    table = open_dataset(folder).documents(0)
    (folder / DOCUMENTS).write_bytes(encode_documents(table.slice(1)))
    message = refusal(forged(folder, lambda entry: entry), verify=True)
    assert message == (
        f"{folder / DOCUMENTS} lacks document 0, of which {SPANS} has a span; make the dataset "
        "again"
    )


def test_what_is_hashed_and_no_table_of_documents_is_refused_in_a_line(folder: Path) -> None:
    (folder / DOCUMENTS).write_bytes(b"PAR1 and nothing else PAR1")
    forged(folder, lambda entry: entry)
    assert str(folder / DOCUMENTS) in refusal(folder, verify=True)
    with pytest.raises(DatasetError, match=re.escape(str(folder / DOCUMENTS))):
        open_dataset(folder).documents(0)
