"""A tokenizer's files in an object store, so that a worker with a disk of its own has them too.

    <root>/tokenizers/<fingerprint>/tokenizer.json, tokenizer_config.json

Named by what they hold and never replaced. What travels to a worker is the address and the
fingerprint; the worker brings the files into its cache.
"""

from dataclasses import dataclass
from pathlib import Path

from codedata.errors import TokenizerError
from codedata.progress import logger
from codedata.store.cache import make_room, own_place, remove, touch
from codedata.store.files import replace_atomically
from codedata.store.object_store import ObjectStore
from codedata.tokenize.tokenizer_files import (
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    TokenizerFiles,
    fingerprint_of,
    read_files,
)


@dataclass(frozen=True)
class StoredTokenizer:
    """Where the files of a tokenizer are in a store.

    Attributes:
        store: of the root.
        source: as the user named it.
        revision: the hub's commit; None for files that were local.
        fingerprint: of both files.
    """

    store: ObjectStore
    source: str
    revision: str | None
    fingerprint: str

    def files(self) -> TokenizerFiles:
        """The files on this machine, fetched where they are not here.

        Raises:
            TokenizerError: they are gone from the store, or not those that were put there.
        """
        folder = bring_tokenizer(self.store, self.fingerprint)
        if folder is None:
            raise TokenizerError(
                f"{self.store.where(_names(self.fingerprint)[0])} is gone, a file of tokenizer "
                f"{self.source}; run again, which puts it there anew"
            )
        config = folder / TOKENIZER_CONFIG
        return TokenizerFiles(
            self.source,
            folder / TOKENIZER_JSON,
            config if config.exists() else None,
            self.revision,
            self.fingerprint,
        )


def store_tokenizer(store: ObjectStore, files: TokenizerFiles) -> StoredTokenizer:
    """Have a tokenizer's files in a store.

    Args:
        store: of the root.
        files: on this machine.

    Raises:
        TokenizerError: they changed since they were found.
    """
    json_bytes, config, found = read_files(files.tokenizer_json, files.tokenizer_config)
    if files.fingerprint != found:
        raise TokenizerError(f"the files of tokenizer {files.source} changed; run again")
    data = [json_bytes] if config is None else [json_bytes, config]
    names = _names(found)
    there = {*store.list(f"tokenizers/{found}/")}
    for name, each in zip(names, data, strict=False):
        if name not in there:
            store.put(name, each)
    return StoredTokenizer(store, files.source, files.revision, found)


def bring_tokenizer(store: ObjectStore, fingerprint: str) -> Path | None:
    """A folder here with the files of a tokenizer in a store; None where it has none of these.

    Args:
        store: of the root.
        fingerprint: of the files.

    Raises:
        TokenizerError: they are not those that were put there.
    """
    folder = own_place("tokenizers") / fingerprint
    if (folder / TOKENIZER_JSON).exists() and touch(folder):
        if _fingerprint_in(folder) == fingerprint:
            return folder
        logger.warning("%s, in the cache, was changed; it is removed and fetched again", folder)
        remove(folder)
    names = _names(fingerprint)
    found = store.read_many(names)
    if (tokenizer_json := found.get(names[0])) is None:
        return None
    if fingerprint_of(tokenizer_json, found.get(names[1])) != fingerprint:
        raise TokenizerError(
            f"{store.where(names[0])} and what lies beside it are not what they are named for; "
            "remove them and run again, which puts them there anew"
        )
    make_room(sum(map(len, found.values())))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in reversed(names):  # tokenizer.json last: who sees it sees all
        if name in found:
            replace_atomically(folder / name.rpartition("/")[2], found[name])
    return folder


def _fingerprint_in(folder: Path) -> str:
    config = folder / TOKENIZER_CONFIG
    return read_files(folder / TOKENIZER_JSON, config if config.exists() else None)[2]


def _names(fingerprint: str) -> list[str]:
    return [f"tokenizers/{fingerprint}/{name}" for name in (TOKENIZER_JSON, TOKENIZER_CONFIG)]
