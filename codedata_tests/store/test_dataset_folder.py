"""Opening a dataset folder: what was written is read, and every damage to it is refused by name."""

import contextlib
import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.format.ranges import CharRange
from codedata.store.dataset_folder import open_dataset, read_facts
from codedata_tests import scenario
from codedata_tests.format.test_facts import sealed
from codedata_tests.format.test_old_cards import OLD_CARD, OLD_DIGEST, old_card

SAMPLES = [[[1, 2, 65535], [4, 5, 6]], [[7, 8, 9], [0, 11, 12]], [[13, 14, 15]]]
"""Three shards; the first two have the same shape."""


def write_dataset(folder: Path, shards: Sequence[Any] = SAMPLES) -> Path:
    """A dataset of chunks of 100 characters each."""
    chars = CharRange(0, 100 * len(shards)).cut(100)
    return scenario.write_dataset(folder, shards, chars=chars)


def write_old_dataset(folder: Path, shards: Sequence[Any], protocol: int) -> Path:
    """A dataset as the old script writes it."""
    folder.mkdir(parents=True)
    meta: dict[str, dict[str, int]] = {}
    for index, samples in enumerate(shards):
        with open(folder / f"dump-{index}.pkl", "wb") as file:
            pickle.dump(samples, file, protocol=protocol)
        meta[f"dump-{index}.pkl"] = {
            "num_samples": len(samples),
            "num_tokens": sum(map(len, samples)),
        }
    with open(folder / META_NAME, "w", encoding="utf-8") as file:
        json.dump(meta, file)
    return folder


def read(folder: Path, *, verify: bool = False) -> list[list[list[int]]]:
    return [shard.tolist() for shard in open_dataset(folder, verify=verify).shards]


def refusal(folder: Path, *, verify: bool = False) -> str:
    """The message with which a folder is refused, verified or not."""
    with pytest.raises(DatasetError) as error:
        open_dataset(folder, verify=verify)
    return str(error.value)


def refusal_at_touch(folder: Path) -> str:
    """The message with which what opens is refused, once its shards are asked for."""
    opened = open_dataset(folder)
    with pytest.raises(DatasetError) as error:
        _ = [*opened.shards]
    return str(error.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset")


def test_a_dataset_is_read_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for path, verify in ((folder, False), (folder, True), (tmp_path / "link", True)):
        dataset = open_dataset(path, verify=verify)
        assert [shard.tolist() for shard in dataset.shards] == SAMPLES
        assert (dataset.seq_length, dataset.num_samples, dataset.num_tokens) == (3, 5, 15)
        assert dataset.digest == hashlib.sha256((folder / META_NAME).read_bytes()).hexdigest()
        assert [entry.chars for entry in dataset.entries] == CharRange(0, 300).cut(100)
        assert not any(shard.flags.writeable for shard in dataset.shards)


def test_shards_are_in_the_order_of_their_numbers_not_of_their_names(tmp_path: Path) -> None:
    shards = [[[index]] for index in range(12)]
    assert read(write_dataset(tmp_path / "new", shards), verify=True) == shards
    old = write_old_dataset(tmp_path / "old", shards, 4)
    meta = json.loads((old / META_NAME).read_bytes())
    (old / META_NAME).write_text(json.dumps(dict(sorted(meta.items()))), encoding="utf-8")
    assert read(old) == shards


def test_an_opened_dataset_outlives_its_folder(folder: Path) -> None:
    shards = open_dataset(folder).shards
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert [shard.tolist() for shard in shards] == SAMPLES


def test_no_descriptor_stays_open(folder: Path) -> None:
    def open_descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    kept = [open_dataset(folder)]
    before = open_descriptors()
    kept.extend(open_dataset(folder, verify=True) for _ in range(5))
    (folder / "dump-2.pkl").unlink()
    for _ in range(5):
        refusal(folder)
    assert open_descriptors() == before, "neither of a file nor of their folder"


# Folders that are none


def test_a_folder_that_holds_no_dataset_is_refused_with_the_remedy(
    folder: Path, tmp_path: Path
) -> None:
    assert refusal(tmp_path / "nowhere") == (
        f"{tmp_path}/nowhere is no dataset folder: No such file or directory; name the folder of a "
        "dataset"
    )
    meta = folder / META_NAME
    assert refusal(meta).startswith(f"{meta} is no dataset folder: Not a directory; name the f")
    meta.unlink()
    for path in (folder, tmp_path):
        message = refusal(path)
        assert message.startswith(f"{path} holds no {META_NAME}, the mark of a whole dataset")
        assert "name the folder of a dataset" in message


# Files

Damage = Callable[[Path], object]


def changed(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced(make: Damage) -> Damage:
    return lambda path: (path.unlink(), make(path))


def a_pickle_of_a_call(data: bytes) -> bytes:
    """It would make a folder if it were loaded; its length is the shard's."""
    return b"cos\nmkdir\n(S'executed'\ntR.".ljust(len(data), b".")


def flip_last_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


ANY_FILE: list[tuple[Damage, str]] = [
    (replaced(lambda path: path.symlink_to("/dev/zero")), "{path} is not a plain file"),
    (replaced(lambda path: path.symlink_to(path.name)), "{path} cannot be opened: it is a link to"),
    (
        replaced(lambda path: path.symlink_to("nothing")),
        "{path} cannot be opened: it is a link to 'nothing', which is not here; get what",
    ),
    (replaced(os.mkfifo), "{path} is not a plain file"),
    (replaced(Path.mkdir), "{path} is not a plain file"),
]
OF_A_SHARD: list[tuple[Damage, str]] = [
    (Path.unlink, "{folder} lacks {name}, which its meta names; make the dataset again"),
    (changed(lambda _: b""), "{path} is empty; make the dataset again"),
    (changed(lambda data: data[:-1]), "{path} has 29 bytes, but 2 samples of 3 tokens take 30: "),
    (changed(lambda data: data + b"."), "{path} has 31 bytes, but 2 samples of 3 tokens take 30: "),
    (
        lambda path: shutil.copy(path.with_name("dump-2.pkl"), path),
        "{path} has 18 bytes, but 2 samples of 3",
    ),
    (changed(lambda data: data[:7]), "{path} has 7 bytes, but 2 samples of 3 tokens take 30: "),
    (changed(lambda _: b"<!DOCTYPE html>" * 90), "{path} has 1350 bytes, which cannot be 2 sam"),
]
OF_A_META: list[tuple[Damage, str]] = [
    (changed(lambda _: b""), "{path} is damaged or no dataset's meta: "),
    (changed(lambda data: data[:-3]), "{path} is damaged or no dataset's meta: "),
]


@pytest.mark.parametrize(
    ("name", "damages"),
    [
        ("dump-0.pkl", ANY_FILE + OF_A_SHARD),
        ("dump-1.pkl", ANY_FILE + OF_A_SHARD),
        (META_NAME, ANY_FILE + OF_A_META),
    ],
)
def test_a_damaged_file_is_refused_by_name(
    name: str, damages: list[tuple[Damage, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 20 and 24; nothing blocks, nothing is followed, nothing is executed."""
    monkeypatch.chdir(tmp_path)
    for number, (damage, message) in enumerate(damages):
        folder = write_dataset(tmp_path / str(number))
        path = folder / name
        damage(path)
        assert refusal(folder).startswith(message.format(folder=folder, name=name, path=path))
        assert name in refusal(folder, verify=True)


def test_damage_that_keeps_the_size_is_refused_before_anything_of_the_shard_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, change in enumerate((a_pickle_of_a_call, flip_last_bit, lambda data: data[::-1])):
        path = write_dataset(tmp_path / str(number)) / "dump-1.pkl"
        changed(change)(path)
        message = f"{path} does not have the sha256 that its meta states; make the dataset again"
        assert refusal(path.parent, verify=True) == message
        opened = open_dataset(path.parent)
        for _ in range(2):
            assert opened.shards[0].tolist() == SAMPLES[0]
            with pytest.raises(DatasetError) as error:
                opened.shards[1]
            assert str(error.value) == message
    assert not (tmp_path / "executed").exists()


def test_a_shard_that_the_meta_does_not_name_is_refused(folder: Path) -> None:
    """Rows 19 and 20: stale shards of a larger run are never loaded, and never overlooked."""
    for name in ("dump-3.pkl", "dump-10.pkl", "dump-999999999999.pkl"):
        for make in (Path.touch, Path.mkdir):
            make(folder / name)
            message = refusal(folder)
            assert message.startswith(f"{folder} holds {name}, which its meta does not name: ")
            assert "left from another run; remove it, or make the dataset again" in message
            (folder / name).rename(folder.parent / f"{name} {make.__name__}")


def test_a_foreign_file_beside_the_shards_is_ignored(folder: Path) -> None:
    """Row 21: readers never open it. (A run that would replace the folder refuses it instead.)"""
    for name in ("config.json", "model.pkl", "dump-03.pkl", "dump-٣.pkl"):
        (folder / name).write_bytes(b"\x80garbage")
        os.mkfifo(folder / f"{name}.bak")
    assert read(folder, verify=True) == SAMPLES


def test_facts_and_card_are_verified_and_where_both_or_the_card_are_missing_they_are_not_missed(
    folder: Path,
) -> None:
    assert open_dataset(folder, verify=True).facts is read_facts(folder) is None
    scenario.write_facts(folder)
    assert read(folder, verify=True) == SAMPLES
    facts = read_facts(folder)
    assert facts is not None
    assert facts == open_dataset(folder).facts
    assert (facts.name, facts.tokenizer.source) == (folder.name, "mine")
    (folder / CARD_NAME).unlink()
    assert read(folder, verify=True) == SAMPLES
    assert read_facts(folder) == facts


def edited(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda folder: changed(change)(folder / name)


def of_another(folder: Path) -> None:
    other = write_dataset(folder.parent / "other", SAMPLES[:2])
    for name in (FACTS_NAME, CARD_NAME):
        shutil.copy(scenario.write_facts(other) / name, folder / name)


def of_an_old_card(card: bytes) -> Damage:
    return lambda folder: ((folder / FACTS_NAME).unlink(), (folder / CARD_NAME).write_bytes(card))


def link(name: str, to: str) -> Damage:
    return lambda folder: replaced(lambda path: path.symlink_to(to))(folder / name)


EDITED = "not as it was written"
WRONG_TEXTS: dict[str, tuple[Damage, str, str]] = {
    "an edited card": (edited(CARD_NAME, lambda card: card + b"notes"), CARD_NAME, EDITED),
    "an empty card": (edited(CARD_NAME, lambda _: b""), CARD_NAME, EDITED),
    "edited facts": (edited(FACTS_NAME, lambda data: data + b"#"), FACTS_NAME, EDITED),
    "empty facts": (edited(FACTS_NAME, lambda _: b""), FACTS_NAME, EDITED),
    "facts lost": (lambda folder: (folder / FACTS_NAME).unlink(), CARD_NAME, EDITED),
    "another's": (of_another, FACTS_NAME, r"of another dataset \(digest \w{64}, not \w{64}\)"),
    "an old card of another": (of_an_old_card(OLD_CARD), CARD_NAME, "of another dataset"),
    "an edited old card": (of_an_old_card(OLD_CARD + b"\n"), CARD_NAME, EDITED),
    "a device": (link(FACTS_NAME, "/dev/zero"), FACTS_NAME, "plain file"),
    "nothing": (link(CARD_NAME, "nowhere"), CARD_NAME, "cannot be opened"),
}


@pytest.mark.parametrize(("change", "name", "said"), WRONG_TEXTS.values(), ids=WRONG_TEXTS)
def test_wrong_facts_or_card_are_refused_where_hashes_are_verified_and_else_passed_over(
    change: Damage, name: str, said: str, folder: Path
) -> None:
    change(scenario.write_facts(folder))
    refused = refusal(folder, verify=True)
    assert refused.startswith(f"{folder / name} ")
    assert re.search(said, refused)
    assert "make the dataset again" in refused
    opened = open_dataset(folder)
    assert [shard.tolist() for shard in opened.shards] == SAMPLES
    is_told = name == CARD_NAME and (folder / FACTS_NAME).exists()
    assert (opened.facts is not None) == is_told, "facts are read without the card"
    if not is_told:
        with pytest.raises(DatasetError, match=said):
            read_facts(folder)


def test_a_card_of_before_the_facts_is_read_and_verified(folder: Path) -> None:
    digest = open_dataset(folder).digest
    (folder / CARD_NAME).write_bytes(old_card((OLD_DIGEST, digest)))
    assert read(folder, verify=True) == SAMPLES
    facts = open_dataset(folder).facts
    assert facts is not None
    assert (facts.name, facts.digest) == ("über", digest)
    assert facts == read_facts(folder)


def test_facts_of_a_newer_format_are_verified_but_not_read(folder: Path) -> None:
    data = (scenario.write_facts(folder) / FACTS_NAME).read_bytes()
    (folder / FACTS_NAME).write_bytes(sealed(data.replace(b"format: 1", b"format: 2")))
    opened = open_dataset(folder, verify=True)
    assert opened.facts is None
    with pytest.raises(DatasetError, match=r"codedata\.yaml is of format 2, of which"):
        read_facts(folder)


def test_facts_are_asked_of_dataset_folders_only(tmp_path: Path, folder: Path) -> None:
    opened = open_dataset(folder)
    (folder / META_NAME).unlink()
    with pytest.raises(DatasetError, match=r"holds no dump-meta_data\.json, the mark of a whole"):
        read_facts(folder)
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match="is no dataset folder: No such file"):
        read_facts(folder)
    assert opened.facts is None, "moved since: what is mapped stays"


def test_files_that_a_data_store_keeps_aside_and_links_to_are_the_dataset(
    folder: Path, tmp_path: Path
) -> None:
    """As the hub's cache, DVC and git-annex lay them out: names of hashes, read-only."""
    scenario.write_facts(folder)
    store = tmp_path / "blobs"
    store.mkdir()
    for path in sorted(folder.iterdir()):
        blob = path.rename(store / hashlib.sha256(path.name.encode()).hexdigest())
        blob.chmod(0o444)
        path.symlink_to(Path("..") / "blobs" / blob.name)
    assert read(folder, verify=True) == SAMPLES
    assert open_dataset(folder).facts is not None
    (folder / "dump-1.pkl").resolve().unlink()
    assert "is a link to '../blobs/" in refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_file_of_another_user_is_refused_by_its_owner(folder: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; import codedata.store.dataset_folder as d;"
        "os.setuid(54321)\n"
        "for folder in sys.argv[1:]:\n"
        "  try: d.open_dataset(Path(folder))\n"
        "  except d.DatasetError as error: print(error)"
    )
    names = ["dump-1.pkl", META_NAME, "."]
    with tempfile.TemporaryDirectory() as public:  # pytest's folders are closed to others
        Path(public).chmod(0o755)
        for name in names:
            (Path(shutil.copytree(folder, f"{public}/of {name}")) / name).chmod(0o600)
        folders = [f"{public}/of {name}" for name in names]
        arguments = [sys.executable, "-c", script, *folders]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    for name, its, said in zip(names, folders, done.stdout.splitlines(), strict=True):
        path = Path(its) / name
        assert said.startswith(
            f"{path} cannot be opened: {path} belongs to root and is closed to you "
            f"({'d' if name == '.' else '-'}rw-------); have its owner let you read it"
        )


def test_swapped_shards_of_the_same_shape_are_refused(folder: Path) -> None:
    def swap(one: str, other: str) -> None:
        (folder / one).rename(folder / "aside")
        (folder / other).rename(folder / one)
        (folder / "aside").rename(folder / other)

    swap("dump-0.pkl", "dump-1.pkl")
    message = refusal(folder, verify=True)
    assert message.startswith(f"{folder}/dump-0.pkl does not have the sha256 that its meta states")
    assert refusal_at_touch(folder) == message
    swap("dump-0.pkl", "dump-2.pkl")  # of another shape
    assert refusal(folder).startswith(f"{folder}/dump-0.pkl has 18 bytes, but 2 samples of 3")


@pytest.mark.parametrize("name", [META_NAME, "dump-0.pkl", "dump-1.pkl"])
def test_every_flipped_bit_prefix_and_byte_more_is_refused_where_hashes_are_verified(
    name: str, tmp_path: Path
) -> None:
    """Shards of both widths; what is found without hashes is `format/test_shards.py`'s.

    Every seventh bit of the meta: seven and eight share no divisor, so each place has its turn.
    """
    samples = [[[1, 2, 3], [4, 5, 65_535]], [[10, 70_000, 12]]]
    folder = write_dataset(tmp_path / "dataset", samples)
    path = folder / name
    data = path.read_bytes()
    damaged = [data[:num_bytes] for num_bytes in range(len(data))]
    damaged += [data + byte for byte in (b"\0", b"\n", b" ", b".", b"}", b"\xff")]
    for bit in range(0, len(data) * 8, 7 if name == META_NAME else 1):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for each in damaged:
        path.write_bytes(each)
        with pytest.raises(DatasetError, match=re.escape(str(path)) + "|which its meta does not"):
            open_dataset(folder, verify=True)
        with contextlib.suppress(DatasetError):  # else it is of the shape that the meta says
            assert {shard.shape[1] for shard in open_dataset(folder).shards} == {3}
    path.write_bytes(data)
    assert read(folder, verify=True) == samples


# The old script's folders


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_folder_of_the_old_script_is_read_as_it_pickled_it(protocol: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    shards: list[list[list[int]]] = [
        generator.integers(0, 2**high, (num_samples, 1100)).tolist()
        for num_samples, high in ((3, 15), (1001, 8), (1, 31), (2, 1))
    ]
    folder = write_old_dataset(tmp_path / "old", shards, protocol)
    assert read(folder) == shards
    message = refusal(folder, verify=True)
    assert f"{folder / META_NAME} is not as it was written" in message
    assert "a dataset of the old script has none to verify" in message
