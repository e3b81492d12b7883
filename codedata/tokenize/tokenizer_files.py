"""A hub name, a folder or a tokenizer.json -> the files that define a tokenizer, fingerprinted.

One of the hub is of one commit: `owner/name@commit` says which; else its default branch, or the
branch or tag after the @, is resolved once, and kept where the caller has a place for that.
"""

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from codedata.errors import TokenizerError
from codedata.places import local_path
from codedata.printable import shortened, why_no_path
from codedata.progress import TERMINAL, Reporter

TOKENIZER_JSON = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"

MAX_TOKENIZER_BYTES = 1 << 28
"""Eight times Gemma 3's tokenizer.json, which has 262,144 tokens and 33 MB; parsed, a file takes
some ten times its size in memory."""

_NAME_ANOTHER = f"name a folder, a {TOKENIZER_JSON} or a repository such as owner/name"

_REPO_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?)(@(?P<revision>[\w./-]+))?", re.ASCII
)


@dataclass(frozen=True)
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
        is_file, is_there = path.is_file(), os.path.lexists(path)
    except OSError as error:  # a name too long
        raise TokenizerError(
            f"tokenizer {shortened(source)!r} is no path: {why_no_path(error)}; {_NAME_ANOTHER}"
        ) from error
    if is_file:
        return _fingerprinted(source, path, None)
    if path.is_dir():
        if not os.path.lexists(path / TOKENIZER_JSON):
            raise TokenizerError(
                f"the tokenizer folder {source!r} has no {TOKENIZER_JSON}; save the tokenizer as a "
                "fast one (save_pretrained of a PreTrainedTokenizerFast) and name that folder"
            )
        config = path / TOKENIZER_CONFIG
        has_config = os.path.lexists(config)  # what is there and cannot be read is refused
        return _fingerprinted(source, path / TOKENIZER_JSON, config if has_config else None)
    named = _REPO_ID.fullmatch(source)
    if is_there or named is None or source.endswith(".json"):
        what = "does not exist here, and is no name of a hub repository"
        if is_there:
            what = "is no regular file" if path.exists() else "is a link to nothing"
        raise TokenizerError(f"tokenizer {source!r} {what}; {_NAME_ANOTHER}")
    return _from_hub(source, named["repo"], named["revision"] or "main", pins, update, reporter)


def local_fingerprint(source: str) -> str | None:
    """The fingerprint of a tokenizer on this machine; None where there is none that is whole."""
    with suppress(TokenizerError, OSError):
        if local_path(source, "tokenizer", error=TokenizerError).exists():
            return find_tokenizer(source).fingerprint
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
    _, _, fingerprint = read_files(tokenizer_json, config)
    return TokenizerFiles(source, tokenizer_json, config, revision, fingerprint)


def read_files(tokenizer_json: Path, config: Path | None) -> tuple[bytes, bytes | None, str]:
    """The bytes of a tokenizer's files, and their fingerprint.

    Raises:
        TokenizerError: one cannot be read, is no regular file, or is far too large.
    """
    parts = _read(tokenizer_json), None if config is None else _read(config)
    return *parts, fingerprint_of(*parts)


def fingerprint_of(tokenizer_json: bytes, config: bytes | None) -> str:
    """The fingerprint of a tokenizer's files, by their bytes."""
    parts = (tokenizer_json, config)
    hashes = ["none" if part is None else sha256(part).hexdigest() for part in parts]
    return sha256(" ".join(hashes).encode()).hexdigest()


def _read(path: Path) -> bytes:
    """The bytes of a file, never waiting for what is no file, nor for more than it says to hold."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_size <= MAX_TOKENIZER_BYTES:
                return file.read(found.st_size)
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read: {error.strerror}; {_NAME_ANOTHER} that can"
        ) from error
    wrong = (
        f"has {found.st_size:,} bytes, which no tokenizer has (at most {MAX_TOKENIZER_BYTES:,} are "
        "read)"
    )
    wrong = wrong if stat.S_ISREG(found.st_mode) else "is no regular file"
    raise TokenizerError(f"{path} {wrong}; {_NAME_ANOTHER}")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO waits for its writer
