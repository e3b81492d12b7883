"""A dataset folder -> its meta and its shards as mapped arrays, every byte of structure checked.

The folder is opened once and every file relative to that descriptor, so a reader sees the dataset
that was there at that moment or, if a run replaces it meanwhile, starts again with the new one;
never files of both. Only `dump-meta_data.json`, the shards it names and, to verify it or where they
are asked for, codedata.yaml and README.md are opened, through a link where one stands in its place;
special files are refused, and nothing is unpickled.
"""

import errno
import hashlib
import json
import os
import resource
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME, own_digest
from codedata.format.facts import FACTS_NAME, MAX_FACTS_BYTES, Facts, parse_facts
from codedata.format.foreign_shards import decode_foreign_shard
from codedata.format.meta import (
    MAX_META_BYTES,
    META_NAME,
    ShardEntry,
    dump_meta,
    parse_meta,
    shard_index,
    shard_name,
)
from codedata.format.old_cards import parse_old_card
from codedata.format.shards import is_fixed_width, view_shard
from codedata.parallel import available_cores
from codedata.store.files import shortened, why_no_path
from codedata.store.mapping import map_file
from codedata.store.permission import whose

_MANY_FILES = 1 << 16
"""Where the system sets no hard limit on open files; macOS refuses to set 'infinite'."""

_MOST_THREADS = 16
"""Shards checked side by side; a few threads already read as fast as memory does."""

_NAME_IT = "name the folder of a dataset"
_COPY_IT = "put the file itself in its place, or make the dataset again"

_LET_READ = "have its owner let you read it (chmod a+rX)"

_WORTH_THREADS = 1 << 20
"""Tokens from which on threads are started: a millisecond of checking."""

_HASHED_SAMPLES = 1024
"""Samples copied at a time for a hash."""

_ATTEMPTS = 1000
"""A reader that finds the folder replaced this often in a row reports it."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """An opened dataset.

    Attributes:
        folder: its path.
        digest: sha256 of the meta's bytes, which names the dataset's content.
        entries: what the meta says of each shard.
        shards: for each shard the ids, uint16 or int32, shape (num_samples, seq_length), read-only:
            views of the mapped files, or decoded arrays where `pickle.dump` wrote them; in memory
            where the filesystem maps no files.
    """

    folder: Path
    digest: str
    entries: tuple[ShardEntry, ...]
    shards: tuple[NDArray[Any], ...]

    @property
    def seq_length(self) -> int:
        """Tokens a sample."""
        return self.entries[0].seq_length

    @property
    def num_samples(self) -> int:
        """Samples of all shards."""
        return sum(entry.num_samples for entry in self.entries)

    @property
    def num_tokens(self) -> int:
        """Tokens of all samples, padding included."""
        return sum(entry.num_tokens for entry in self.entries)

    @cached_property
    def content_digest(self) -> str:
        """The digest where the meta has the sha256 of every shard; else one of the ids as well.

        The meta of the old script has counts only, which other ids may have too. Its ids are read
        once, for the sha256 of JSON `[digest, sha256 of the ids as little-endian int32]`.
        """
        if all(entry.sha256 for entry in self.entries):
            return self.digest
        of_ids = hashlib.sha256()
        for ids in self.shards:
            for start in range(0, len(ids), _HASHED_SAMPLES):
                block = ids[start : start + _HASHED_SAMPLES]
                of_ids.update(np.ascontiguousarray(block, "<i4").data)
        return hashlib.sha256(json.dumps([self.digest, of_ids.hexdigest()]).encode()).hexdigest()

    @cached_property
    def facts(self) -> Facts | None:
        """What the dataset was made of; None where the folder does not say so of this dataset.

        Samples are read without any facts, so what is wrong with them is no error here; nor is a
        folder that was moved since it was opened: what is mapped stays.
        """
        try:
            return read_facts(self.folder, self.digest)
        except DatasetError:
            return None

    @property
    def num_padding(self) -> int | None:
        """Tokens that only fill up samples; None where the meta does not say."""
        text = [entry.last_sample_tokens for entry in self.entries]
        if None in text:
            return None
        return len(text) * self.seq_length - sum(filter(None, text))

    def padded_samples(self) -> dict[int, int]:
        """Rows of the samples that are padded, each with how many of its tokens are the text's.

        Raises:
            DatasetError: the meta does not say; it is of the old script, or an older codedata.
        """
        padded: dict[int, int] = {}
        row = -1
        for index, entry in enumerate(self.entries):
            row += entry.num_samples
            if entry.last_sample_tokens is None:
                raise DatasetError(
                    f"{self.folder / META_NAME} does not say how many tokens of {shard_name(index)}"
                    "'s last sample are padding (last_sample_tokens), and by its id padding cannot "
                    "be told from text; make the dataset again to mask it, with the same switches"
                )
            if entry.last_sample_tokens < entry.seq_length:
                padded[row] = entry.last_sample_tokens
        return padded


def open_dataset(folder: Path, *, verify: bool = False) -> Dataset:
    """Open a dataset folder.

    Args:
        folder: as `tokenize_data` or the old script wrote it.
        verify: also recompute every hash that the meta states, and refuse meta, facts or a card
            that are not byte for byte as this package wrote them (so a dataset of the old script,
            which states no hashes, does not verify; one without facts and card does).

    Raises:
        DatasetError: the folder, its meta or a shard is missing, damaged or of another shape.
    """
    try:
        return _open(folder, verify=verify)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    # Too many files are open for this process's soft limit, which it may raise itself.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        most = _MANY_FILES if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return _open(folder, verify=verify)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise DatasetError(
            f"{folder} cannot be opened: the process may have {soft} files open, {hard} at the "
            "most, and each shard takes one; raise the limit (ulimit -n), or make fewer, larger "
            "shards (max_dump_size, chunk_size)"
        ) from error


def _open(folder: Path, *, verify: bool) -> Dataset:
    for _ in range(_ATTEMPTS):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                raise
            closed = isinstance(error, OSError) and error.errno == errno.EACCES
            if closed and os.access(folder.parent, os.X_OK):
                why = f"cannot be opened: {whose(folder)}; {_LET_READ}"
            else:
                why = f"is no dataset folder: {why_no_path(error)}; {_NAME_IT}"
            raise DatasetError(f"{shortened(str(folder))} {why}") from error
        try:
            return _open_relative(folder, descriptor, verify=verify)
        except FileNotFoundError as error:
            if not _was_replaced(folder, descriptor):
                raise DatasetError(_missing(folder, str(error.filename))) from error
        finally:
            os.close(descriptor)
    raise DatasetError(
        f"{folder} was replaced {_ATTEMPTS} times while it was being opened; try again later"
    )


def _missing(folder: Path, name: str) -> str:
    if name == META_NAME:
        return f"{folder} holds no {META_NAME}, the mark of a whole dataset; {_NAME_IT}"
    return f"{folder} lacks {name}, which its meta names; make the dataset again"


def _was_replaced(folder: Path, descriptor: int) -> bool:
    try:
        return not os.path.samestat(os.stat(folder), os.fstat(descriptor))
    except FileNotFoundError:
        return True


def _open_relative(folder: Path, descriptor: int, *, verify: bool) -> Dataset:
    meta_file = _open_file(folder, META_NAME, descriptor)
    try:
        if os.fstat(meta_file).st_size > MAX_META_BYTES:
            raise DatasetError(
                f"{folder / META_NAME} is larger than {MAX_META_BYTES} bytes, as no meta is; make "
                "the dataset again"
            )
        with open(meta_file, "rb", closefd=False) as file:
            meta = file.read()
    finally:
        os.close(meta_file)
    entries = parse_meta(meta, str(folder / META_NAME))
    if verify and dump_meta(entries) != meta:
        raise DatasetError(
            f"{folder / META_NAME} is not as it was written: this package writes each entry with "
            "its hashes, in order; a dataset of the old script has none to verify; make the "
            "dataset again to have them"
        )
    digest = hashlib.sha256(meta).hexdigest()
    if verify:
        facts, card = (_read_text(folder, n, descriptor) for n in (FACTS_NAME, CARD_NAME))
        if facts is not None or card is not None:
            _require_own(folder, facts, card, digest)
    names = {shard_name(index) for index in range(len(entries))}
    extra = [n for n in os.listdir(descriptor) if shard_index(n) is not None and n not in names]
    if extra:
        raise DatasetError(
            f"{folder} holds {min(extra)}, which its meta does not name: it is left from another "
            "run; remove it, or make the dataset again"
        )
    shards = _read_shards(folder, descriptor, entries, verify=verify)
    return Dataset(
        folder=folder,
        digest=digest,
        entries=tuple(entries),
        shards=shards,
    )


def read_facts(folder: Path, digest: str | None = None) -> Facts | None:
    """What a dataset was made of; None where nothing says so, as of one of the old script.

    Args:
        folder: of the dataset.
        digest: of its meta, where that is known.

    Raises:
        DatasetError: it is no dataset folder, or what stands there is not as it was written, or is
            another dataset's.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise DatasetError(f"{folder} is no dataset folder: {error.strerror}") from error
    try:
        if digest is None:
            with open(_open_file(folder, META_NAME, descriptor), "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts = _read_text(folder, FACTS_NAME, descriptor)
        card = _read_text(folder, CARD_NAME, descriptor) if facts is None else None
    except FileNotFoundError as error:
        raise DatasetError(_missing(folder, META_NAME)) from error
    finally:
        os.close(descriptor)
    if facts is None and card is None:
        return None
    name = _require_own(folder, facts, card, digest)
    try:
        return parse_facts(facts) if facts is not None else parse_old_card(card or b"")
    except ValueError as error:
        raise DatasetError(f"{folder / name} {error}; make the dataset again") from error


def _require_own(folder: Path, facts: bytes | None, card: bytes | None, digest: str) -> str:
    """Refuse facts or a card that were changed, or that are another dataset's; the facts' name."""
    name, named = own_digest(facts, card)
    if named == digest:
        return name
    wrong = (
        "is not as it was written"
        if named is None
        else f"is of another dataset (digest {named}, not {digest})"
    )
    raise DatasetError(f"{folder / name} {wrong}; move it elsewhere, or make the dataset again")


def _read_text(folder: Path, name: str, descriptor: int) -> bytes | None:
    """The bytes of facts or of a card, no more than they may have and one; None where none are."""
    try:
        with open(_open_file(folder, name, descriptor), "rb") as file:
            return file.read(MAX_FACTS_BYTES + 1)
    except FileNotFoundError:
        return None


def _open_file(folder: Path, name: str, descriptor: int) -> int:
    """Open a plain file of the folder, or the one that a link in its place leads to.

    Data stores (the hub's cache, DVC, git-annex) keep files aside and link to them. No pipe or
    device is opened: some do something then.
    """
    try:
        is_plain = stat.S_ISREG(os.stat(name, dir_fd=descriptor).st_mode)
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=descriptor) if is_plain else None
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise
        why = _why_not_opened(folder / name, descriptor, error)
        if why is None:
            raise
        raise DatasetError(f"{folder / name} cannot be opened: {why}") from error
    if file is None or not stat.S_ISREG(os.fstat(file).st_mode):
        if file is not None:
            os.close(file)
        raise DatasetError(f"{folder / name} is not a plain file; {_COPY_IT}")
    return file


def _why_not_opened(path: Path, descriptor: int, error: OSError) -> str | None:
    """What is wrong with a file of the folder, and the remedy; None where there is none."""
    if error.errno in (errno.ENOENT, errno.ELOOP):
        try:
            target = os.readlink(path.name, dir_fd=descriptor)
        except OSError:
            return None if error.errno == errno.ENOENT else f"{error.strerror}; {_COPY_IT}"
        return (
            f"it is a link to {shortened(target)!r}, which is not here; get what it stands for "
            "from where the dataset came from (git annex get, dvc pull, a download), or "
            f"{_COPY_IT}"
        )
    if error.errno == errno.EACCES:
        try:
            return f"{whose(path)}; {_LET_READ}, or make the dataset again"
        except OSError:  # a link into a folder that is closed
            leads_to = shortened(os.path.realpath(path))
            return f"it leads to {leads_to!r}, which is closed to you; {_LET_READ}"
    return f"{error.strerror}; {_COPY_IT}"


def _read_shards(
    folder: Path, descriptor: int, entries: list[ShardEntry], *, verify: bool
) -> tuple[NDArray[Any], ...]:
    """Every shard, checked side by side where that is worth the threads."""
    read = partial(_read_shard, folder, descriptor, verify=verify)
    if len(entries) == 1 or sum(entry.num_tokens for entry in entries) < _WORTH_THREADS:
        return tuple(map(read, range(len(entries)), entries))
    with ThreadPoolExecutor(min(available_cores(), len(entries), _MOST_THREADS)) as threads:
        opened = [threads.submit(read, index, entry) for index, entry in enumerate(entries)]
        try:
            return tuple(future.result() for future in opened)
        finally:
            threads.shutdown(cancel_futures=True)
            opened.clear()  # an error's traceback would keep the shards mapped


def _read_shard(
    folder: Path, descriptor: int, index: int, entry: ShardEntry, *, verify: bool
) -> NDArray[Any]:
    name = shard_name(index)
    file = _open_file(folder, name, descriptor)
    try:
        if not os.fstat(file).st_size:
            raise DatasetError(f"{folder / name} is empty; make the dataset again")
        data = map_file(file)
    finally:
        os.close(file)
    where = str(folder / name)
    if verify and hashlib.sha256(data.data).hexdigest() != entry.sha256:
        raise DatasetError(
            f"{where} does not have the sha256 that its meta states; make the dataset again"
        )
    read = view_shard if is_fixed_width(data) else decode_foreign_shard
    return read(data, num_samples=entry.num_samples, seq_length=entry.seq_length, name=where)
