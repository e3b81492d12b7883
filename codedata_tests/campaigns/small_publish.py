"""A run in small, by the store alone: chunks stored, shards staged, the dataset published.

    python -m codedata_tests.campaigns.small_publish TARGET NUM_SHARDS [WAY]

It starts in a moment, so that a campaign can end it at every call to the kernel.
"""

import sys
from hashlib import sha256
from pathlib import Path

from codedata.errors import CodedataError
from codedata.format.meta import ShardEntry, file_names
from codedata.store import publishing
from codedata.store.files import replace_atomically
from codedata.store.publishing import check_target, open_staging

NUM_CHUNKS = 2
WAYS = ("exchange", "fallback")
"""How a dataset takes another's place: in one step, or as on filesystems that cannot."""


def has_documents(num_shards: int) -> bool:
    """Whether sidecars lie beside the shards."""
    return num_shards % 2 == 0


def no_exchange(_one: Path, _other: Path) -> bool:
    """What `exchange` says on a filesystem without RENAME_EXCHANGE; this machine may have none."""
    return False


def publish(target: Path, num_shards: int) -> list[str]:
    """Publish files that name themselves; return the chunks that had to be made.

    An even number of shards has sidecars.
    """
    made: list[str] = []
    entries: list[ShardEntry] = []
    with open_staging(check_target(target)) as staging:
        for chunk in (staging.chunks / f"{index}.arrow" for index in range(NUM_CHUNKS)):
            if not chunk.exists():
                chunk.parent.mkdir(exist_ok=True)
                replace_atomically(chunk, b"a chunk")
                made.append(chunk.name)
            assert chunk.read_bytes() == b"a chunk"
        for index in range(num_shards):
            hashes: list[str] = []
            for name in file_names(index, documents=has_documents(num_shards)):
                data = f"{name} of {num_shards}".encode()
                staging.put(name, memoryview(data))
                hashes.append(sha256(data).hexdigest())
            named = dict(zip(("sha256", "spans_sha256", "documents_sha256"), hashes, strict=False))
            num_text_tokens = 1 if has_documents(num_shards) else None
            entries.append(
                ShardEntry(num_samples=1, num_tokens=1, num_text_tokens=num_text_tokens, **named)
            )
        staging.add_meta(entries)
        staging.publish()
        staging.discard_chunks()
    return made


if __name__ == "__main__":
    if sys.argv[3:] == ["fallback"]:
        publishing.exchange = no_exchange
    try:
        publish(Path(sys.argv[1]), int(sys.argv[2]))
    except (CodedataError, OSError) as error:
        sys.exit(f"small_publish: error: {error}")
