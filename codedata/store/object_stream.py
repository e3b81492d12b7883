"""A version of a dataset in an object store, as what is streamed.

Requests: one for the meta, where it is not in the cache; one for 1,000 names of the listing; one
for each 32 MB of a file.
"""

from dataclasses import dataclass

from codedata.errors import DatasetError
from codedata.format.meta import META_NAME
from codedata.store.cache import cached
from codedata.store.copies import url_of
from codedata.store.versions import DatasetLog, ObjectSnapshot, Version


@dataclass(frozen=True)
class ObjectRemote:
    """A version; see `Remote`.

    Attributes:
        log: of the dataset.
        version: of it.
    """

    log: DatasetLog
    version: Version

    @property
    def where(self) -> str:
        """The URL of exactly this version."""
        return url_of(self.log, self.version)

    def texts(self) -> tuple[bytes, bytes | None, bytes | None]:
        """See `Remote.texts`; facts and card are in the version's record."""
        name = self.version.name_of(META_NAME)
        try:
            meta = cached(self.log.store, name, self.version.digest).read_bytes()
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self.where} was pruned: its {META_NAME} is gone; name another version"
            ) from error
        return meta, self.version.facts, self.version.card

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Remote.sizes`."""
        return ObjectSnapshot(self.log, self.version.folder, {}).sizes(prefix)

    def read(self, name: str, start: int, stop: int) -> bytes:
        """See `Remote.read`."""
        of_version = self.version.name_of(name)
        return self.log.store.read(of_version, start, stop, exactly=True)
