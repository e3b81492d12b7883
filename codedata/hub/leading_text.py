"""The leading characters of a parquet on the hub -> a sparse file with no more than those take.

Over the network come the footer and, of the row groups that hold the characters, the column
`content`; nothing of the others. The text is read and counted while it arrives, so what is here is
known to be whole rows of valid UTF-8. The hub states no hash of a part: that the bytes are right
rests on the connection (TLS), on the pages' checksums where the file has them, and on the decoding.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.hub.cache import HubFile, require_room
from codedata.hub.client import RemoteFile, stream
from codedata.progress import Reporter
from codedata.sources.parquet.text import MAGIC, ParquetText
from codedata.sources.partial_file import (
    SparseFile,
    TextPart,
    move_sparse_file,
    read_whole,
    relabel,
)

_BLOCK_BYTES = 1 << 20


def recall(path: Path, repo: str, file_path: str, commit: str) -> RemoteFile | None:
    """The file that a sparse file is a part of, if it is the one asked for: without a request."""
    try:
        file = RemoteFile(**(read_whole(path) or {}))
    except TypeError:
        return None
    return file if (file.repo, file.path, file.commit) == (repo, file_path, commit) else None


def fetch_leading_text(
    file: RemoteFile, num_chars: int, path: Path, reporter: Reporter, *, whole: HubFile | None
) -> TextPart:
    """Have the first `num_chars` characters of a parquet in a sparse file; one process at a time.

    Args:
        file: as the hub states it.
        num_chars: how many characters.
        path: of the sparse file; what is there already is not fetched again.
        reporter: told how far the transfer is.
        whole: the same file in the cache, which costs no request; None where it is not there.

    Raises:
        HubError: the hub does not give it, or the disk has no room.
        CorpusError: it is no usable parquet.
    """
    before = read_whole(path)
    if before is not None and {**before, "commit": file.commit} == asdict(file):
        before = asdict(file)  # the same bytes in another commit
        relabel(path, before)
    # Other bytes are kept until the new ones are here: what worked goes on working.
    is_other = before not in (None, asdict(file))
    target = path.with_name(f"{path.stem}.new{path.suffix}") if is_other else path
    try:
        part = _fetch(file, num_chars, target, reporter, whole)
    except CorpusError as error:
        reporter.say(f"{error}; it is fetched once more, in case the transfer damaged it")
        target.unlink(missing_ok=True)
        part = _fetch(file, num_chars, target, reporter, whole)
    if is_other:
        move_sparse_file(target, path)
    return part


def _fetch(
    file: RemoteFile, num_chars: int, path: Path, reporter: Reporter, whole: HubFile | None
) -> TextPart:
    path.parent.mkdir(parents=True, exist_ok=True)
    with reporter.transfer(f"{file.path}, its first {num_chars:,} characters") as transfer:

        def fetch(start: int, stop: int) -> Iterator[bytes]:
            if whole is not None:
                yield from _copy(whole.path, start, stop)
                return
            for block in stream(file, start, stop, reporter, stopped=sparse.stopped):
                transfer.advance(len(block))
                yield block

        with SparseFile(path, asdict(file), file.num_bytes, fetch) as sparse:
            transfer.start_at(sparse.bytes_here)
            try:
                _require_magic(sparse, file)
                text = ParquetText(path, sparse=sparse)
                expected = int(file.num_bytes * text.share_of_groups(num_chars))
                require_room(path.parent, expected - sparse.bytes_here, file.path)
                transfer.expect(expected)
                window = text.clip(CharRange(0, num_chars))
            except CorpusError as error:
                if sparse.failure is not None:  # nothing is damaged: it could not be had
                    raise sparse.failure from error
                raise
            ranges = sparse.ranges
    groups = len(text.index.num_chars)
    identity = [file.commit, file.path, file.etag, groups]
    return TextPart(
        fingerprint=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        num_chars=window.stop,
        ends_here=groups == text.num_row_groups and text.index.starts()[-1] - 1 <= num_chars,
        num_row_groups=groups,
        ranges=ranges,
    )


def _require_magic(sparse: SparseFile, file: RemoteFile) -> None:
    if (head := sparse.read(0, len(MAGIC))) != MAGIC:
        raise CorpusError(
            f"{file.path} of {file.repo} is not a parquet file: it starts with {head!r}; name one"
        )


def _copy(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(start)
        for position in range(start, stop, _BLOCK_BYTES):
            yield file.read(min(_BLOCK_BYTES, stop - position))
