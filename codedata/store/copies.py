"""A dataset at a URL -> a dataset folder of this machine, its shards hashed as they arrive.

    $XDG_CACHE_HOME/codedata/datasets/<what it is>/<name>/    a copy, an ordinary dataset folder
    $XDG_CACHE_HOME/codedata/datasets/.<what it is>.stage/    shards that arrived, while it is made

`s3://bucket/datasets/train` is what is published there, `...train@7` the version with that number.
What it is is resolved once; a copy is of one version for good, and goes with the rest of the cache
(`store/cache.py`) when it was not asked for long enough. Of many processes one brings it, and goes
on where a killed one ended.

Requests: of a copy that is here those that find the version; of one that is not two more, and one
for each 32 MB of a shard, or of a file beside it.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from codedata.errors import DatasetError
from codedata.format.facts import Facts
from codedata.format.meta import META_NAME, parse_meta
from codedata.layout import Layout, is_name
from codedata.parallel import map_in_order
from codedata.places import is_object_url, require_no_secret
from codedata.progress import SILENT, Reporter, Transfer, megabytes
from codedata.store.base import Data
from codedata.store.cache import (
    CACHE_VARIABLE,
    make_room,
    max_cache_bytes,
    own_place,
    remove,
    touch,
)
from codedata.store.dataset_folder import Dataset, open_dataset, parse_texts, read_facts
from codedata.store.files import fsync_folder, replace_atomically
from codedata.store.locks import waiting_lock
from codedata.store.shard_contents import with_remedy
from codedata.store.streamed import Stream, require_unverified, write_hashed
from codedata.store.verified import open_once

if TYPE_CHECKING:
    from codedata.store.versions import DatasetLog, Version

_AT_ONCE = 8
"""Pieces that are under way, 256 MB: a connection of an object store gives some 50 MB/s."""

_ATTEMPTS = 10
"""What is asked for so often was pruned each time while it was brought."""


class _PrunedError(DatasetError):
    """Objects of a version are gone."""


_NUMBERED = re.compile(r"(?P<url>.+)@(?P<number>[0-9]{1,10})", re.ASCII)


def place_of(layout: Layout, split: str) -> Path | str:
    """Where a split's dataset is published: a folder, or a URL."""
    return layout.dataset(split) if layout.url is None else f"{layout.url}/datasets/{split}"


def published_place(split: str) -> Path | str:
    """Where the dataset of a split is, below `$CODEDATA_ROOT`.

    Raises:
        DatasetError: the name is none, or nothing is there.
    """
    if not is_name(split):
        raise DatasetError(
            f"{split!r} is no name of a split; name one, such as 'train', or open a folder with "
            "PickledTrainerDataset"
        )
    place = place_of(Layout.from_environment(), split)
    if isinstance(place, Path) and not place.exists():
        raise DatasetError(
            f"split {split!r} has no dataset in {place}; run `codedata materialize {split}`, or "
            "set CODEDATA_ROOT to the folder that holds it"
        )
    return place


def dataset_log(url: str) -> "DatasetLog":
    """The versions of the dataset at a URL.

    Raises:
        DatasetError: the URL has what may be a secret.
    """
    require_no_secret(url, "the dataset's URL", error=DatasetError)
    # A tenth of a second of asyncio, which folders need not wait for.
    from codedata.store.object_store import ObjectStore
    from codedata.store.versions import DatasetLog

    return DatasetLog(ObjectStore(url.rstrip("/")))


def published(layout: Layout, split: str, *, verify: bool = False) -> "Dataset | Version":
    """What is published of a split: its folder, opened; of a URL what is on record, and no shard.

    Raises:
        DatasetError: there is nothing, or it is damaged.
    """
    place = place_of(layout, split)
    if isinstance(place, Path):
        return open_once(place, verify=verify)
    return dataset_log(place).published()


def facts_at(place: Path | str) -> Facts | None:
    """What a dataset was made of; see `read_facts`.

    Raises:
        DatasetError: there is none, or what says so is not as it was written.
    """
    if isinstance(place, Path):
        return read_facts(place)
    version = dataset_log(place).published()
    return parse_texts(place, version.facts, version.card, version.digest)


def find_version(url: str) -> "tuple[DatasetLog, Version]":
    """What is published at a URL, or the version that it names.

    Raises:
        DatasetError: there is none.
    """
    numbered = _NUMBERED.fullmatch(url)
    log = dataset_log(numbered["url"] if numbered else url)
    if numbered is None:
        return log, log.published()
    if (version := log.version(int(numbered["number"]))) is None:
        head = log.head()
        known = f"its versions are 1 to {head.number}" if head else "it has no versions"
        raise DatasetError(f"{log.store.url} has no version {numbered['number']}: {known}")
    return log, version


def url_of(log: "DatasetLog", version: "Version") -> str:
    """The URL of exactly this version."""
    return f"{log.store.url}@{version.number}" if version.number else log.store.url


def open_at(
    place: Path | str, reporter: Reporter, *, verify: bool = False, stream: bool = False
) -> Dataset:
    """Open a dataset folder of this machine, or a copy of the dataset at a URL, or a stream of it.

    Raises:
        DatasetError: see `dataset_copy`, `open_dataset` and `Stream.open`.
    """
    if isinstance(place, Path) or not is_object_url(place):
        return open_dataset(Path(place), verify=verify)
    if stream:
        return stream_of(place, verify=verify).open()
    return _open_copy(*_copied(place, reporter), verify=verify)


def _open_copy(folder: Path, url: str, *, verify: bool = False) -> Dataset:
    remedy = f"this is a copy of {url}: remove {folder.parent}, and it is brought again"
    try:
        dataset = open_dataset(folder, verify=verify)
    except DatasetError as error:
        raise with_remedy(error, remedy) from error
    dataset.files.remedy = remedy
    return replace(dataset, url=url)


def stream_of(url: str, *, verify: bool) -> Stream:
    """What streams the dataset at a URL: what is published there now, or the version it names.

    Raises:
        DatasetError: there is none; or all is to be verified.
    """
    require_unverified(url, verify=verify)
    # A tenth of a second of asyncio, which folders need not wait for.
    from codedata.store.object_stream import ObjectRemote

    log, version = find_version(url)
    return Stream(ObjectRemote(log, version))


def reopen(folder: Path, url: str | None, stream: Stream | None = None) -> Dataset:
    """Open what `open_at` opened, in another process: a copy is brought again only if it is gone.

    Args:
        folder: that was opened.
        url: of what it is a copy; None where it is none.
        stream: what is streamed, in place of a folder.

    Raises:
        DatasetError: see `open_at`.
    """
    if stream is not None:
        return stream.open()
    if url is None:
        return open_dataset(folder)
    return _open_copy(folder, url) if touch(folder.parent) else open_at(url, SILENT)


def require_in_store(url: str) -> None:
    """See to it that all objects of a version are where its copies come from, by their sizes.

    Raises:
        StoreError: one is gone.
        DatasetError: they have other sizes than what was published.
    """
    log, version = find_version(url)
    num_bytes = log.require_whole(version, "make the dataset again")
    if num_bytes != version.num_bytes:
        raise DatasetError(
            f"{url} has {num_bytes} bytes in all, and was published with {version.num_bytes}: "
            "something wrote over its objects; make the dataset again"
        )


def dataset_copy(url: str, reporter: Reporter) -> Path:
    """The folder of a copy of the dataset at a URL, brought here where it is not.

    Raises:
        DatasetError: there is none, it is damaged, or it is larger than the cache may be.
        StoreError: the store does not give it.
        SettingsError: this user has no cache folder.
    """
    return _copied(url, reporter)[0]


def _copied(url: str, reporter: Reporter) -> tuple[Path, str]:
    """A copy, and the URL of exactly what it is of."""
    for _ in range(_ATTEMPTS):
        log, version = find_version(url)
        try:
            folder, of_version = _copy(log, version, reporter), url_of(log, version)
        except _PrunedError:
            if find_version(url)[1] == version:
                raise
            continue
        reporter.log(f"reading {of_version} from its copy {folder}")
        return folder, of_version
    raise DatasetError(f"{url} was replaced and pruned {_ATTEMPTS} times while it was brought here")


def _copy(log: "DatasetLog", version: "Version", reporter: Reporter) -> Path:
    name = log.store.url.rpartition("/")[2]
    texts = {each: hashlib.sha256(text).hexdigest() for each, text in version.texts.items()}
    plain = (
        [] if version.number else [log.store.url, log.store.found("dump-")]
    )  # may have no hashes
    what = json.dumps([name, version.digest, texts, *plain], sort_keys=True)
    home = own_place("datasets") / hashlib.sha256(what.encode()).hexdigest()[:32]
    folder, stage = home / name, home.with_name(f".{home.name}.stage")
    texts[META_NAME] = version.digest
    if touch(home) and _holds(folder, texts):
        return folder
    most = max_cache_bytes(home)
    if version.num_bytes > most:
        raise DatasetError(
            f"{log.store.url} has {megabytes(version.num_bytes)}, more than the {megabytes(most)} "
            f"that the cache may have: stream it (stream=True), or `codedata fetch {log.store.url} "
            f"FOLDER` brings it into a folder of yours, which opens like any; or raise "
            f"{CACHE_VARIABLE}"
        )
    with waiting_lock(home.with_name(f".{home.name}.lock"), reporter.say):
        if not _holds(folder, texts):
            if folder.exists():
                reporter.say(f"{folder}, a copy in the cache, was changed; it is brought again")
                remove(home)
            make_room(version.num_bytes)
            stage.mkdir(mode=0o700, exist_ok=True)
            bring(
                log,
                version,
                lambda name, data: replace_atomically(stage / name, data),
                reporter,
                here=frozenset(os.listdir(stage)),
            )
            fsync_folder(stage)
            home.mkdir(mode=0o700, exist_ok=True)
            os.rename(stage, folder)
            fsync_folder(home)
    return folder


def _holds(folder: Path, texts: Mapping[str, str]) -> bool:
    """Whether a copy has files of these names with these sha256."""
    try:
        found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in texts}
    except FileNotFoundError:
        return False
    return found == texts


def bring(
    log: "DatasetLog",
    version: "Version",
    put: Callable[[str, Data], object],
    reporter: Reporter,
    *,
    here: Set[str] = frozenset(),
) -> None:
    """Bring the files of a version, several at once, each hashed as it arrives.

    Args:
        log: of the dataset.
        version: of it.
        put: takes a file's name, and what writes it; on any thread.
        reporter: told how far it is.
        here: names of shards and sidecars that are here already.

    Raises:
        DatasetError: one is gone, or is not what the meta says, or the meta what the version says.
    """
    source, where = _Source(log, version), log.store.where(version.name_of(META_NAME))
    meta = source.read(META_NAME)
    if hashlib.sha256(meta).hexdigest() != version.digest:
        raise DatasetError(f"{where} is not what was published; make the dataset again")
    entries = parse_meta(meta, where)
    listed = log.store.found(version.name_of("dump-"))
    files = chain.from_iterable(entry.files(i).items() for i, entry in enumerate(entries))
    with (
        reporter.transfer(log.store.url) as transfer,
        ThreadPoolExecutor(min(_AT_ONCE, len(entries))) as threads,
    ):
        transfer.expect(version.num_bytes)

        def bring_one(file: tuple[str, str | None]) -> None:
            name, sha256 = file
            found = listed.get(version.name_of(name))
            put(name, source.writer(name, found and found.num_bytes, sha256, transfer))

        for _ in map_in_order(threads, bring_one, (file for file in files if file[0] not in here)):
            pass
    for name, data in {**version.texts, META_NAME: meta}.items():
        put(name, data)


@dataclass(frozen=True)
class _Source:
    """A version that is brought here."""

    log: "DatasetLog"
    version: "Version"

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        try:
            return self.log.store.read(self.version.name_of(name), start, stop)
        except FileNotFoundError as error:
            raise _PrunedError(
                f"{url_of(self.log, self.version)} lacks {name}, which its meta names: it was "
                "pruned, or something removed it; name another version, or make the dataset again"
            ) from error

    def writer(
        self, name: str, num_bytes: int | None, sha256: str | None, transfer: Transfer
    ) -> Callable[[BinaryIO], None]:
        """What writes a file into an opened one, in pieces where its size is known."""
        where = self.log.store.where(self.version.name_of(name))

        def read(start: int, stop: int | None) -> bytes:
            piece = self.read(name, start, stop)
            transfer.advance(len(piece))
            return piece

        def write(file: BinaryIO) -> None:
            write_hashed(file, read, num_bytes, sha256, where)

        return write
