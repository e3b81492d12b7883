"""A tokenizer's files in an object store, and in the cache of whoever works with them."""

import os
from pathlib import Path

import pytest

from codedata.errors import TokenizerError
from codedata.store.object_store import ObjectStore
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import (
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    find_tokenizer,
    read_files,
)


def test_files_come_once_as_they_were_are_asked_for_each_time_and_others_are_refused(
    tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store = ObjectStore("memory://stored-tokenizers")
    files = find_tokenizer(str(tokenizer_folder))
    stored = store_tokenizer(store, files)
    found = stored.files()
    assert read_files(found.tokenizer_json, found.tokenizer_config)[2] == files.fingerprint
    folder = found.tokenizer_json.parent
    for name in (TOKENIZER_JSON, TOKENIZER_CONFIG):
        (folder / name).write_bytes(b"{}")
        assert stored.files() == found
        assert read_files(found.tokenizer_json, found.tokenizer_config)[2] == files.fingerprint
    os.utime(folder, (1.0, 1.0))
    store.remove(store.list())
    assert stored.files() == found
    assert folder.stat().st_atime > 1.0, "what is asked for stays in the cache"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(TokenizerError, match=r"tokenizer\.json is gone, a file of tokenizer"):
        stored.files()
    store_tokenizer(store, files)
    store.put(f"tokenizers/{files.fingerprint}/{TOKENIZER_CONFIG}", b"{}")
    with pytest.raises(TokenizerError, match="are not what they are named for"):
        stored.files()
    store.remove(store.list())
