"""A dataset in an object store: immutable folders of objects, and the log that says which is it.

    <dataset>/<folder>/dump-0.pkl, ..., dump-meta_data.json     a version's objects
    <dataset>/_versions/0000000007.json                         its record, written if absent

The folder is named by what decides its bytes, the ids that are packed among it, so an object that
is written again is the same. The highest number is the dataset. Facts and card stand in the record:
they may differ, by a name or a command, while the objects are the same.

Invariants: a record is written once and stays; it names what was whole in the store before and
after. Numbers have no gaps, so a listing that lags costs requests, never a version: what follows
the highest number that it shows is asked for directly.

Requests: to publish, a read of the meta and two of its size, three lists, two reads of records and
a write, beside one a shard; to find the head, a list and two reads. A list is one request for 1,000
names.
"""

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from itertools import chain, count
from typing import Any

from codedata.errors import DatasetError, StoreError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME, Facts
from codedata.format.meta import MAX_SHARDS, META_NAME, file_names, parse_meta
from codedata.format.shards import Bytes
from codedata.store.base import Data, Snapshot, Stage
from codedata.store.dataset_folder import parse_texts
from codedata.store.object_store import ObjectStore, whole

FORMAT = 1
"""Of records: raised by what older readers must not overlook; names that they do not know, they
pass over."""

VERSIONS = "_versions/"
"""What the names of records begin with; no folder of objects has an underscore."""

_COUNTS = ("num_shards", "num_samples", "seq_length", "num_bytes")

_ATTEMPTS = 1000
"""A publisher whom others overtake this often in a row reports it."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What was published under a number.

    Attributes:
        number: 1 and up; 0 of a plain dataset folder that lies at a URL.
        folder: of its objects; empty where they lie beside no log.
        digest: sha256 of its meta.
        facts: the bytes of codedata.yaml; None of a dataset that has none.
        card: the bytes of README.md, likewise.
        made: when, ISO 8601 in UTC.
        num_shards: how many it has.
        num_samples: of all shards.
        seq_length: tokens a sample.
        num_bytes: of its shards, their sidecars, and meta.
        has_documents: whether sidecars lie beside its shards; records of before there were any do
            not say so.
    """

    number: int
    folder: str
    digest: str
    facts: bytes | None
    card: bytes | None
    made: str
    num_shards: int
    num_samples: int
    seq_length: int
    num_bytes: int
    has_documents: bool = False

    @property
    def num_tokens(self) -> int:
        """Tokens of all samples, padding included."""
        return self.num_samples * self.seq_length

    @property
    def made_of(self) -> Facts | None:
        """What it was made of; None where nothing says so of it."""
        with suppress(DatasetError):
            return parse_texts("", self.facts, self.card, self.digest)
        return None

    @property
    def texts(self) -> dict[str, bytes]:
        """Facts and card, as far as it has them, by name."""
        texts = {FACTS_NAME: self.facts, CARD_NAME: self.card}
        return {name: text for name, text in texts.items() if text is not None}

    def name_of(self, name: str) -> str:
        """The object of one of its files."""
        return _object_name(self.folder, name)

    @property
    def names(self) -> list[str]:
        """Its files that are objects, the meta last."""
        of_shards = (
            file_names(index, documents=self.has_documents) for index in range(self.num_shards)
        )
        return [*chain.from_iterable(of_shards), META_NAME]


@dataclass(frozen=True)
class DatasetLog:
    """The versions of one dataset.

    Attributes:
        store: of the dataset: `<root>/datasets/<split>`.
    """

    store: ObjectStore

    def head(self) -> Version | None:
        """The dataset: the version with the highest number; None where there is none."""
        first = max(_numbers(self.store.list(VERSIONS)), default=1)
        head = None
        for number in count(first):
            if (version := self.version(number)) is None:
                break
            head = version
        if head is None and first > 1:
            raise StoreError(
                f"{self.store.where(record_name(first))} was removed, which says what the dataset "
                "is; records of versions stay for ever: put it back"
            )
        return head

    def published(self) -> Version:
        """The head, or of a plain dataset folder that was copied to the URL, what it holds.

        Raises:
            DatasetError: there is neither.
        """
        if (version := self.head() or self._plain()) is None:
            raise DatasetError(
                f"{self.store.url} holds no {META_NAME}, the mark of a whole dataset, and no "
                f"{VERSIONS} of one; name the URL of a dataset, or make it (codedata materialize)"
            )
        return version

    def version(self, number: int) -> Version | None:
        """The version with a number; None where there is none.

        Raises:
            DatasetError: its record is not as it was written.
        """
        name = record_name(number)
        try:
            return _parsed(number, self.store.read(name), self.store.where(name))
        except FileNotFoundError:
            return None

    def versions(self) -> list[Version]:
        """All that were published, the head last."""
        listed = _numbers(self.store.list(VERSIONS))
        records = self.store.read_many(map(record_name, sorted(listed)))
        found = [
            _parsed(number, records[name], self.store.where(name))
            for number in sorted(listed)
            if (name := record_name(number)) in records
        ]
        for number in count(max(listed, default=0) + 1):
            if (version := self.version(number)) is None:
                return found
            found.append(version)
        raise AssertionError("numbers end")

    def put_if_absent(self, number: int, version: Version) -> bool:
        """Record what is published under a number; False where something is.

        Of two records that say the same each has bytes of its own, so that a writer who got no
        answer knows its own.
        """
        said = {"format": FORMAT, **vars(version), "nonce": secrets.token_hex(8)}
        del said["number"]
        if not version.has_documents:
            del said["has_documents"]
        record = json.dumps(said, default=bytes.decode)  # facts and card are texts
        return self.store.put_if_absent(record_name(number), record.encode())

    def stage(self, folder: str) -> "ObjectStage":
        """Write a version; several may at once, also the same one.

        Args:
            folder: names what decides the bytes of its objects.
        """
        return ObjectStage(self, folder)

    @contextmanager
    def snapshot(self, version: Version | None = None) -> Generator[Snapshot]:
        """The files of a version, by default of what is published now."""
        found = version or self.published()
        number = None if version else found.number
        yield ObjectSnapshot(self, found.folder, found.texts, number)

    def require_whole(self, version: Version, what_then: str) -> int:
        """The bytes of a version's objects.

        What a listing does not show yet is asked for, and the meta in any case: a listing may still
        show what was removed, and the meta is what a prune takes first.

        Args:
            version: of this dataset, or one that is to be.
            what_then: ends the message where one is gone.

        Raises:
            StoreError: one of them is not there.
        """
        names = [version.name_of(each) for each in version.names]
        listed = self.store.found(version.name_of(""))
        sizes = {name: listed[name].num_bytes for name in names[:-1] if name in listed}
        sizes |= self.store.sizes(name for name in names if name not in sizes)
        if gone := [name for name in names if name not in sizes]:
            raise StoreError(
                f"{self.store.where(gone[0])} is gone ({len(gone)} of {len(names)} objects of the "
                f"version are): something removed it, such as `codedata prune`; {what_then}"
            )
        return sum(sizes.values())

    def _plain(self) -> Version | None:
        found = self.store.read_many([META_NAME, FACTS_NAME, CARD_NAME])
        if (meta := found.get(META_NAME)) is None:
            return None
        plain = replace(_version_of(meta, "", found, self.store.where(META_NAME)), made="")
        return replace(plain, num_bytes=self.require_whole(plain, "copy it there again"))


class ObjectStage(Stage):
    """A version that is being written; picklable, so that workers write its shards.

    Facts and card are kept here for the record, the rest are objects from the start.
    """

    def __init__(self, log: DatasetLog, folder: str) -> None:
        self.log, self.folder = log, folder
        self._texts: dict[str, bytes] = {}

    def put(self, name: str, data: Data) -> None:
        """See `Stage.put`."""
        if name in (FACTS_NAME, CARD_NAME):
            self._texts[name] = whole(data)
        else:
            self.log.store.put(f"{self.folder}/{name}", data)

    def publish(self) -> Version:
        """Make what is staged the head, unless it is that already; see `Stage`.

        Raises:
            StoreError: an object of it is not there.
        """
        staged = self._staged()
        for _ in range(_ATTEMPTS):
            head = self.log.head()
            if head is not None and _what(head) == _what(staged):
                return head
            number = head.number + 1 if head else 1
            if not self.log.put_if_absent(number, staged):
                continue
            try:
                self.log.require_whole(staged, "the version before is the dataset again; run again")
            except StoreError:
                if head is not None:
                    self.log.put_if_absent(number + 1, replace(head, made=_now()))
                raise
            return replace(staged, number=number)
        raise StoreError(
            f"{self.log.store.url} got another version {_ATTEMPTS} times while one was being "
            "published; see what else publishes there, and run again"
        )

    def snapshot(self) -> Snapshot:
        """The files that are staged so far, to be checked before they are published."""
        return ObjectSnapshot(self.log, self.folder, self._texts)

    def _staged(self) -> Version:
        """What is staged, once all of it is there."""
        name = f"{self.folder}/{META_NAME}"
        try:
            meta = self.log.store.read(name)
        except FileNotFoundError as error:
            raise StoreError(
                f"{self.log.store.where(name)} is gone: something removed it, such as `codedata "
                "prune`; nothing was published; run again"
            ) from error
        staged = _version_of(meta, self.folder, self._texts, self.log.store.where(name))
        num_bytes = self.log.require_whole(staged, "nothing was published; run again")
        return replace(staged, num_bytes=num_bytes)


@dataclass(frozen=True)
class ObjectSnapshot:
    """The files of a version, or of what is staged; see `Snapshot`.

    Attributes:
        log: of the dataset.
        folder: of the objects.
        texts: facts and card.
        number: of the version; None where no other can take its place: of what is staged, or of a
            version that was asked for.
    """

    log: DatasetLog
    folder: str
    texts: Mapping[str, bytes]
    number: int | None = None

    @property
    def where(self) -> str:
        """The URL of the dataset."""
        return self.log.store.url

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Snapshot.sizes`."""
        folder = f"{self.folder}/" if self.folder else ""
        found = self.log.store.scan(f"{folder}{prefix}")
        return {name.removeprefix(folder): each.num_bytes for name, each in found}

    def keep(self) -> "ObjectSnapshot":
        """See `Snapshot.keep`."""
        return self

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `Snapshot.read`."""
        if name in self.texts:
            return self.texts[name][start:stop]
        with _as(name):
            return self.log.store.read(_object_name(self.folder, name), start, stop)

    def map(self, name: str) -> Bytes:
        """See `Snapshot.map`."""
        with _as(name):
            return self.log.store.map(_object_name(self.folder, name))

    def map_file(self, name: str) -> tuple[Bytes, os.stat_result | None]:
        """See `Snapshot.map_file`."""
        return self.map(name), None

    def state_of(self, name: str) -> None:
        """See `Snapshot.state_of`."""

    def loosen(self) -> None:
        """See `Snapshot.loosen`."""

    def is_current(self) -> bool:
        """Whether nothing was published since."""
        head = self.log.head() if self.number is not None else None
        return head is None or head.number == self.number


@contextmanager
def _as(name: str) -> Generator[None]:
    """Have an error say which file of a dataset is missing."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error


def _version_of(meta: bytes, folder: str, texts: Mapping[str, bytes], where: str) -> Version:
    """What is to be published, its size aside."""
    entries = parse_meta(meta, where)
    return Version(
        number=0,
        folder=folder,
        digest=hashlib.sha256(meta).hexdigest(),
        facts=texts.get(FACTS_NAME),
        card=texts.get(CARD_NAME),
        made=_now(),
        num_shards=len(entries),
        num_samples=sum(entry.num_samples for entry in entries),
        seq_length=entries[0].seq_length,
        num_bytes=0,
        has_documents=entries[0].has_documents,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _what(version: Version) -> tuple[object, ...]:
    return version.folder, version.digest, version.facts, version.card


def _object_name(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def record_name(number: int) -> str:
    """The name of a version's record."""
    return f"{VERSIONS}{number:010d}.json"


def _numbers(names: Iterable[str]) -> list[int]:
    """The numbers of records; what else somebody put beside them is none."""
    stems = (name.removeprefix(VERSIONS).removesuffix(".json") for name in names)
    return [int(stem) for stem in stems if len(stem) == 10 and stem.isdecimal()]


def _parsed(number: int, data: bytes, where: str) -> Version:
    try:
        return Version(number=number, **_read_record(json.loads(data)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{where} is not as a version's record is written ({error}): take the codedata that "
            "wrote it, or, if something else did, copy an earlier record over it"
        ) from error


def _read_record(record: dict[str, Any]) -> dict[str, Any]:
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']}, of which this one knows {FORMAT}")
    record = {"has_documents": False, **record}
    found = {each.name: record[each.name] for each in fields(Version) if each.name != "number"}
    for name in ("facts", "card"):
        found[name] = None if found[name] is None else found[name].encode()
    wrong = [name for name in _COUNTS if type(found[name]) is not int]
    if type(found["has_documents"]) is not bool:
        wrong.append("has_documents")
    if wrong or not 0 < found["num_shards"] <= MAX_SHARDS:
        raise ValueError(f"{', '.join(wrong) or 'num_shards'} cannot be")
    return found
