"""A tokenizer's files in an object store, so that a worker with a disk of its own has them too.

    <root>/tokenizers/<fingerprint>/tokenizer.json, tokenizer_config.json

Named by what they hold and never replaced. What travels to a worker is the address and the hashes;
the worker brings the files into its cache.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from codedata.errors import TokenizerError
from codedata.store.cache import cache_place, cached, touch
from codedata.store.files import replace_atomically
from codedata.store.object_store import ObjectStore
from codedata.tokenize.tokenizer_files import (
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    TokenizerFiles,
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
        sha256s: of tokenizer.json, and of tokenizer_config.json where there is one.
    """

    store: ObjectStore
    source: str
    revision: str | None
    fingerprint: str
    sha256s: tuple[str, ...]

    def files(self) -> TokenizerFiles:
        """The files on this machine, fetched where they are not here.

        Raises:
            TokenizerError: they are gone from the store.
        """
        try:
            paths = [
                cached(self.store, name, sha256)
                for name, sha256 in zip(_names(self.fingerprint), self.sha256s, strict=False)
            ]
        except FileNotFoundError as error:
            raise TokenizerError(
                f"{self.store.where(str(error.filename))} is gone, a file of tokenizer "
                f"{self.source}; run again, which puts it there anew"
            ) from error
        config = paths[1] if len(paths) > 1 else None
        return TokenizerFiles(self.source, paths[0], config, self.revision, self.fingerprint)


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
    sha256s = tuple(hashlib.sha256(each).hexdigest() for each in data)
    return StoredTokenizer(store, files.source, files.revision, found, sha256s)


def bring_tokenizer(store: ObjectStore, fingerprint: str) -> Path | None:
    """A folder here with the files of a tokenizer in a store; None where it has none of these.

    Args:
        store: of the root.
        fingerprint: of the files.
    """
    folder = cache_place("tokenizers") / fingerprint
    if not touch(folder / TOKENIZER_JSON):
        names = _names(fingerprint)
        found = store.read_many(names)
        if names[0] not in found:
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in sorted(found.items()):  # tokenizer.json last
            replace_atomically(folder / name.rpartition("/")[2], data)
    return folder


def _names(fingerprint: str) -> list[str]:
    return [f"tokenizers/{fingerprint}/{name}" for name in (TOKENIZER_JSON, TOKENIZER_CONFIG)]
