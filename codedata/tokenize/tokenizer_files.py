"""A hub name, a folder or a tokenizer.json -> the files that define a tokenizer, and their rules.

Always by tokenizer.json, through `tokenizers.Tokenizer`, never through transformers: releases of
transformers 5 rebuilt deepseek-coder's tokenizer with another pre-tokenizer and dropped every
space. From tokenizer_config.json only `add_bos_token`, `add_eos_token` and the two tokens' names
are taken (docs/format.md, "Ids").

One of the hub is of one commit: `owner/name@commit` says which; else its default branch, or the
branch or tag after the @, is resolved once, and kept where the caller has a place for that.
"""

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from codedata.errors import TokenizerError
from codedata.format.packing import MAX_TOKEN_ID
from codedata.places import local_path
from codedata.progress import TERMINAL, Reporter
from codedata.store.files import shortened, why_no_path
from codedata.tokenize.engines.library import LibraryTokenizer
from codedata.tokenize.structure import merge_that_aborts

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

MAX_TOKENIZER_BYTES = 1 << 28
"""Eight times Gemma 3's tokenizer.json, which has 262,144 tokens and 33 MB; parsed, a file takes
some ten times its size in memory."""

_NAME_ANOTHER = f"name a folder, a {TOKENIZER_JSON} or a repository such as owner/name"
_SAVE_AGAIN = "save the tokenizer again (save_pretrained), or download its files again"

_REPO_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)(@(?P<revision>[\w./-]+))?", re.ASCII
)


@dataclass(frozen=True, kw_only=True)
class TokenizerFiles:
    """Where a tokenizer's files lie, and a fingerprint of what they hold.

    Attributes:
        source: as the user named it.
        tokenizer_json: path of tokenizer.json.
        tokenizer_config: path of tokenizer_config.json; None where there is none, or where
            `source` is a tokenizer.json itself.
        revision: the hub's commit; None for local files.
        fingerprint: sha256 over the bytes of both files.
    """

    source: str
    tokenizer_json: Path
    tokenizer_config: Path | None
    revision: str | None
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class LoadedTokenizer:
    """A tokenizer, the structure it was read from, and the ids that frame a chunk.

    Attributes:
        files: where it came from.
        tokenizer: without truncation and padding, whatever its file declares.
        structure: the parsed tokenizer.json.
        config: the parsed tokenizer_config.json; empty where there is none.
        bos_id: goes first where the first id is another; None where the config does not ask.
        eos_id: goes last likewise.
    """

    files: TokenizerFiles
    tokenizer: LibraryTokenizer
    structure: dict[str, Any]
    config: dict[str, Any]
    bos_id: int | None
    eos_id: int | None


def find_tokenizer(
    source: str,
    *,
    pins: Path | None = None,
    update: bool = False,
    reporter: Reporter = TERMINAL,
) -> TokenizerFiles:
    """Find a tokenizer's files, on this machine or, by its name, on the Hugging Face Hub.

    Args:
        source: a folder, a tokenizer.json, or the name of a model repository, `@revision` after it
            where it shall not be the default branch.
        pins: folder that keeps the commits of revisions that were resolved once.
        update: resolve the revision anew.
        reporter: told what has to be fetched or waited for.

    Raises:
        TokenizerError: nothing is there, it has no tokenizer.json, or the hub does not give it.
    """
    try:
        path = local_path(source, "tokenizer", error=TokenizerError)
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:  # a name too long
        raise TokenizerError(
            f"tokenizer {shortened(source)!r} is no path: {why_no_path(error)}; {_NAME_ANOTHER}"
        ) from error
    if is_file:
        return _fingerprinted(source, path, None)
    if is_folder:
        if not os.path.lexists(path / TOKENIZER_JSON):
            raise TokenizerError(
                f"the tokenizer folder {source!r} has no {TOKENIZER_JSON}; save the tokenizer as a "
                "fast one (save_pretrained of a PreTrainedTokenizerFast) and name that folder"
            )
        config = path / TOKENIZER_CONFIG
        has_config = os.path.lexists(config)  # what is there and cannot be read is refused
        return _fingerprinted(source, path / TOKENIZER_JSON, config if has_config else None)
    if os.path.lexists(path):
        what = "is no regular file" if path.exists() else "is a link to nothing"
        raise TokenizerError(f"tokenizer {source!r} {what}; {_NAME_ANOTHER}")
    named = _REPO_ID.fullmatch(source)
    if named is None or source.endswith(".json"):
        raise TokenizerError(
            f"tokenizer {source!r} does not exist here, and is no name of a hub repository; "
            f"{_NAME_ANOTHER}"
        )
    return _from_hub(source, named["repo"], named["revision"] or "main", pins, update, reporter)


def local_fingerprint(source: str) -> str | None:
    """The fingerprint of a tokenizer on this machine; None where there is none that is whole."""
    try:
        path = local_path(source, "tokenizer", error=TokenizerError)
        return find_tokenizer(source).fingerprint if path.exists() else None
    except (TokenizerError, OSError):
        return None


def _from_hub(
    source: str, repo: str, revision: str, pins: Path | None, update: bool, reporter: Reporter
) -> TokenizerFiles:
    # A second of imports that local files do not need.
    from codedata.hub.client import ASKING_SECONDS, limit_client
    from codedata.hub.files import fetch_file
    from codedata.hub.pins import read_tokenizer_pin, write_tokenizer_pin
    from codedata.hub.refusals import HubError, NoSuchFileError

    limit_client()
    fetch = partial(
        fetch_file, repo, kind="model", reporter=reporter, most_bytes=MAX_TOKENIZER_BYTES
    )
    asked = revision if pins is None or update else read_tokenizer_pin(pins, repo, revision)
    try:
        found = fetch(
            TOKENIZER_JSON,
            revision=asked,
            within=ASKING_SECONDS,
            before_asking=f"tokenizer {source!r} is no folder or file here; asking the hub for it",
        )
        try:
            config = fetch(TOKENIZER_CONFIG, revision=found.commit).path
        except NoSuchFileError:
            config = None
    except HubError as error:
        raise TokenizerError(
            f"tokenizer {source!r} is no folder or file here, and the hub does not give it: "
            f"{error}; or download its files and name their folder"
        ) from error
    if pins is not None:
        write_tokenizer_pin(pins, repo, revision, found.commit)
    return _fingerprinted(source, found.path, config, found.commit)


def _fingerprinted(
    source: str, tokenizer_json: Path, config: Path | None, revision: str | None = None
) -> TokenizerFiles:
    return TokenizerFiles(
        source=source,
        tokenizer_json=tokenizer_json,
        tokenizer_config=config,
        revision=revision,
        fingerprint=_fingerprint(_read(tokenizer_json), _read(config) if config else None),
    )


def _fingerprint(tokenizer_json: bytes, config: bytes | None) -> str:
    parts = [
        hashlib.sha256(part).hexdigest() if part is not None else "none"
        for part in (tokenizer_json, config)
    ]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _read(path: Path) -> bytes:
    """The bytes of a file, never waiting for what is no file, nor for more than it says to hold.

    Raises:
        TokenizerError: it cannot be read, is no regular file, or is far too large.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise TokenizerError(f"{path} is no regular file; {_NAME_ANOTHER}")
            if found.st_size > MAX_TOKENIZER_BYTES:
                raise TokenizerError(
                    f"{path} has {found.st_size:,} bytes, which no tokenizer has (at most "
                    f"{MAX_TOKENIZER_BYTES:,} are read); {_NAME_ANOTHER}"
                )
            return file.read(found.st_size)
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read: {error.strerror}; {_NAME_ANOTHER} that can"
        ) from error


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO waits for its writer


@lru_cache(maxsize=4)
def load_tokenizer(files: TokenizerFiles) -> LoadedTokenizer:
    """Load a tokenizer, once a process.

    Raises:
        TokenizerError: a file is not what its name says, or changed since it was found.
    """
    json_bytes = _read(files.tokenizer_json)
    config_bytes = _read(files.tokenizer_config) if files.tokenizer_config else None
    if _fingerprint(json_bytes, config_bytes) != files.fingerprint:
        raise TokenizerError(
            f"the files of tokenizer {files.source} changed during the run; run again once they "
            "are complete"
        )
    structure = _parse(json_bytes, files.tokenizer_json)
    if (merge := merge_that_aborts(structure)) is not None:
        raise TokenizerError(
            f"{files.tokenizer_json} is no tokenizer: its merge {merge!r} does not continue with "
            f"its continuing_subword_prefix; {_SAVE_AGAIN}"
        )
    try:
        tokenizer = LibraryTokenizer(json_bytes, str(files.tokenizer_json))
        _require_ids(tokenizer, files.tokenizer_json)
    except TokenizerError as error:
        raise TokenizerError(f"{error}; {_SAVE_AGAIN}") from error
    if (structure.get("model") or {}).get("dropout"):
        raise TokenizerError(
            f"{files.tokenizer_json} declares a BPE dropout, so the same text gives other ids each "
            "time; set its model's dropout to null"
        )
    config = _parse(config_bytes, files.tokenizer_config) if config_bytes else {}
    return LoadedTokenizer(
        files=files,
        tokenizer=tokenizer,
        structure=structure,
        config=config,
        bos_id=_framing_id(tokenizer, config, "bos", files),
        eos_id=_framing_id(tokenizer, config, "eos", files),
    )


def _require_ids(tokenizer: LibraryTokenizer, path: Path) -> None:
    """Refuse ids that no shard can hold, and a frame of ids that the vocabulary does not have.

    Raises:
        TokenizerError: naming the token, or the id.
    """
    vocab = tokenizer.get_vocab()
    if not vocab:
        raise TokenizerError(f"{path} has an empty vocabulary")
    token = max(vocab, key=vocab.__getitem__)
    if vocab[token] > MAX_TOKEN_ID:
        raise TokenizerError(
            f"{path} gives {shortened(token)!r} the id {vocab[token]}; ids are 0 to {MAX_TOKEN_ID}"
        )
    known = set(vocab.values())
    for token_id in tokenizer.encode("").ids:
        if token_id not in known:
            raise TokenizerError(
                f"{path} frames every text with the id {token_id}, which its vocabulary does not "
                "have: its post_processor is of another tokenizer"
            )


def _parse(data: bytes, path: Path | None) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is not JSON: {error}; {_SAVE_AGAIN}") from error
    if not isinstance(parsed, dict):
        raise TokenizerError(
            f"{path} holds a JSON {type(parsed).__name__}, not an object; {_SAVE_AGAIN}"
        )
    return cast("dict[str, Any]", parsed)


def _framing_id(
    tokenizer: LibraryTokenizer, config: dict[str, Any], which: str, files: TokenizerFiles
) -> int | None:
    if config.get(f"add_{which}_token") is not True:
        return None
    token = config.get(f"{which}_token")
    if isinstance(token, dict):
        token = cast("dict[str, Any]", token).get("content")
    token_id = tokenizer.token_to_id(token) if isinstance(token, str) else None
    if token_id is None:
        raise TokenizerError(
            f"{files.tokenizer_config} says add_{which}_token, but its {which}_token {token!r} is "
            f"not in the vocabulary of {TOKENIZER_JSON}; correct one of the two, or name "
            f"{TOKENIZER_JSON} itself, which frames no chunk"
        )
    return token_id
