"""Files behind URLs of any filesystem that fsspec knows: s3, gs, az, https, sftp, and others.

Of a parquet come the columns and row groups that are needed, as parts; what has no random access is
read once. Files that a pattern stands for are listed when somebody asks, and the list is kept.
Credentials are the filesystem's own matter: its variables and files, never a YAML
(https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration).
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal
from uuid import uuid4

from pydantic import AfterValidator, Field

from codedata.errors import CorpusError
from codedata.progress import Reporter
from codedata.sources.base import StorageOptions, must, no_secret_urls
from codedata.sources.formats.registry import is_found, is_random_access
from codedata.sources.leading import LeadingParquet
from codedata.sources.listing import ListedFile, Listing, why_not_these
from codedata.sources.objects import explained
from codedata.sources.paths import MANY, Paths, expand_paths, is_pattern, without_pattern
from codedata.sources.read_once import FileToRead
from codedata.sources.record import Corpus, read_corpus
from codedata.sources.tabular import FirstChars, TabularSource, stored_in

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


_STATES = (
    *("ETag", "etag", "md5Hash", "content_md5", "sha", "blob_id", "version_id", "generation"),
    *("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "modify", "created"),
)
"""What filesystems of fsspec tell of a file's version."""


def _without_query(url: str) -> str:
    """A URL as far as it names a file: on the web a question mark is no pattern."""
    return url.partition("?")[0] if url.startswith(("http://", "https://")) else url


def _are_urls(paths: str | list[str]) -> bool:
    return all(map(_SCHEME.match, expand_paths(paths)))


class UrlSource(TabularSource):
    """Files behind URLs, of any filesystem that fsspec knows."""

    kind: Literal["url"] = "url"
    path: Annotated[
        Paths,
        must(_are_urls, "write URLs, such as s3://bucket/c-*.parquet; kind local has paths"),
        AfterValidator(no_secret_urls),
    ] = Field(description=MANY)
    storage_options: StorageOptions = Field(
        default_factory=dict,
        description="What the filesystem is made with, such as anon: true; no secrets.",
    )
    first_chars: FirstChars = Field(
        default=None, description="Read no more of each file than its first characters take."
    )

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The URLs, in their order; none where there is no list of them yet.

        Raises:
            CorpusError: the list names what its patterns cannot stand for.
        """
        named = expand_paths(self.path)
        if self.asked is None:
            return named
        listed = self.listing.paths if self.listing else ()
        schemes = {url.partition("://")[0] for url in named}
        if strange := next((url for url in listed if url.partition("://")[0] not in schemes), None):
            raise CorpusError(
                f"the list of the files of {self.path} names {strange}, of another file system; "
                "`codedata list --refresh` makes it anew"
            )
        return listed

    @property
    def num_files(self) -> int:
        """Its files, each a text of its own; 1 where there is no list of them yet."""
        return max(1, len(self.paths))

    @property
    def num_chars(self) -> int | None:
        """Characters that are read of each file; None where all are."""
        return self.first_chars

    @property
    def asked(self) -> str | None:
        """The patterns."""
        if not any(is_pattern(_without_query(url)) for url in expand_paths(self.path)):
            return None
        return json.dumps([self.path, self.storage_options])

    def ask(self, reporter: Reporter) -> Listing:  # noqa: ARG002  (filesystems wait in silence)
        """Ask for the files that the patterns stand for."""
        files: dict[str, ListedFile] = {}
        for pattern in expand_paths(self.path):
            with _saying(pattern):
                system, inside = self._system(pattern)
                is_named = not is_pattern(_without_query(pattern))
                found = (
                    {inside: system.info(inside)} if is_named else system.glob(inside, detail=True)
                )
                root = without_pattern(inside)
                for name, about in sorted(found.items()):
                    is_file = about.get("type") == "file"
                    if is_file and (is_named or is_found(name[len(root) :].lstrip("/"), inside)):
                        url = system.unstrip_protocol(name)
                        files[url] = _listed(url, about)
        if why := why_not_these([*files], f"path {self.path}"):
            raise CorpusError(f"{why}; name files that are there")
        return Listing(asked=str(self.asked), files=tuple(files.values()))

    @contextmanager
    def opened(self, file: int) -> Iterator[tuple[str, BinaryIO]]:
        """A file, and its URL."""
        url = self.paths[file]
        with _saying(url):
            system, inside = self._system(url)
            with system.open(inside, "rb") as opened:
                yield _without_query(url), opened

    def materialize(
        self,
        file: int,
        folder: Path,
        reporter: Reporter,
        *,
        update: bool,  # noqa: ARG002  (there are no commits)
    ) -> Corpus:
        """Bring what is needed of a file."""
        url = self.paths[file]
        name = _without_query(url)
        origin = {"kind": "url", "path": url}
        with _saying(url):
            system, inside = self._system(url)
            found = as_told = _listed(url, about := system.info(inside))

            def is_still() -> bool:
                system.invalidate_cache()
                return _listed(url, system.info(inside)) == as_told

            if not _stated(about):
                reporter.say(f"nothing tells whether {url} is another than before: it is read anew")
                found = replace(found, etag=_hash([url, uuid4().hex]))
            if not is_random_access(name) or self.content is not None:
                whole = FileToRead(
                    opener=lambda: system.open(inside, "rb"),
                    name=name,
                    etag=found.etag,
                    num_bytes=found.num_bytes,
                    first_chars=self.first_chars,
                    is_still=is_still,
                )
                return self.read_once(whole, folder, origin, reporter)
            with stored_in(folder, url), system.open(inside, "rb", cache_type="none") as opened:
                fetcher = LeadingParquet(
                    name=url,
                    where=url,
                    etag=found.etag,
                    num_bytes=found.num_bytes,
                    source=opened,
                    columns=self.columns,
                    folder=folder,
                    reporter=reporter,
                )
                fetcher.know(_known(folder, origin))
                part = fetcher.leading(
                    self.first_chars, lambda num: _hash(["parquet", url, found.etag, num])
                )
                if not is_still():
                    raise CorpusError(f"{url} changed while it was being read; run again")
                return fetcher.recorded(part, origin)

    def _system(self, url: str) -> tuple[Any, str]:
        """The filesystem of a URL, and the path in it."""
        import fsspec  # with the filesystem's own client, which only who fetches needs

        return fsspec.url_to_fs(url, **self.storage_options)


def _known(folder: Path, origin: dict[str, Any]) -> Corpus | None:
    try:
        corpus = read_corpus(folder)
    except CorpusError:  # none, or a damaged one
        return None
    return corpus if corpus.origin == origin else None


def _listed(url: str, about: dict[str, Any]) -> ListedFile:
    """A file, and what tells another version of it."""
    num_bytes = int(about.get("size") or 0)
    return ListedFile(path=url, num_bytes=num_bytes, etag=_hash([url, num_bytes, _stated(about)]))


def _stated(about: dict[str, Any]) -> dict[str, str]:
    """What a filesystem states that is another for another version: each has its own spelling."""
    return {name: str(about[name]) for name in _STATES if about.get(name) is not None}


def _hash(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@contextmanager
def _saying(url: str) -> Iterator[None]:
    """Name the URL in what its filesystem does not give.

    Raises:
        CorpusError: saying why, in one line.
    """
    try:
        yield
    except (CorpusError, AssertionError, MemoryError):  # what the filesystem is not to blame for
        raise
    except Exception as error:
        raise explained(url, error) from error
