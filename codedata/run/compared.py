"""Chunks whose ids were made or compared: by this process, and by this user's earlier ones.

A chunk is known by its fingerprint and the sha256 of its ids; whoever reads the ids hashes them. A
note in this user's cache folder holds those of a folder of chunks, so that a run which finds
everything done reads no text. What others stored under the same root is compared once.

A step hands the chunks that it made or found in an object store on to the next one of its process:
a list of the store may not show them yet.
"""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from json import dumps
from typing import cast

from codedata.format.fingerprint import ChunkFingerprint
from codedata.run.plan import ChunkTask
from codedata.store.chunks import ChunkStore, ObjectChunks, TokenChunk
from codedata.store.notes import read_note, write_note

_NOTES = "compared-1"

_known: set[tuple[ChunkFingerprint, str]] = set()
_taken: set[tuple[ChunkFingerprint, str]] = set()
_handed_on: dict[tuple[ChunkStore, ChunkFingerprint], TokenChunk] = {}


def is_compared(chunk: TokenChunk) -> bool:
    """Whether a chunk's ids were made or compared."""
    return (chunk.fingerprint, chunk.ids_sha256) in _known


def add_compared(chunk: TokenChunk) -> None:
    """Take a chunk for one whose ids were made or compared by this process."""
    _known.add((chunk.fingerprint, chunk.ids_sha256))


def is_taken(chunk: TokenChunk) -> bool:
    """Whether a chunk's ids were made or compared, or those of others of its store stand for it."""
    return is_compared(chunk) or (chunk.fingerprint, chunk.ids_sha256) in _taken


def add_taken(chunks: Iterable[TokenChunk]) -> None:
    """Take chunks as right, as long as this process runs: ids of some of them were compared."""
    _taken.update((chunk.fingerprint, chunk.ids_sha256) for chunk in chunks)


def hand_on(chunks: Iterable[TokenChunk]) -> None:
    """Keep chunks of object stores for the next step of this process."""
    kept = (chunk for chunk in chunks if isinstance(chunk.store, ObjectChunks))
    _handed_on.update(((chunk.store, chunk.fingerprint), chunk) for chunk in kept)


def take_handed_on(tasks: Iterable[ChunkTask]) -> list[TokenChunk]:
    """What an earlier step of this process made or found of some chunks; once."""
    taken = (_handed_on.pop((task.chunks, task.fingerprint), None) for task in tasks)
    return [chunk for chunk in taken if chunk is not None]


def recall(tasks: Iterable[ChunkTask]) -> None:
    """Know what this user's earlier processes made or compared of some chunks."""
    for folder, some in _by_folder(tasks):
        noted = _noted(_name(folder, some[0]))
        _known.update((each, noted[each.chars.key]) for each in some if each.chars.key in noted)


def note(chunks: Iterable[TokenChunk]) -> None:
    """Leave a note of chunks, all of the folders that they lie in, for later processes."""
    shas = {chunk.fingerprint: chunk.ids_sha256 for chunk in chunks if is_compared(chunk)}
    for folder, some in _by_folder(chunks):
        found = {each.chars.key: shas[each] for each in some if each in shas}
        name = _name(folder, some[0])
        noted = _noted(name)
        if not found.items() <= noted.items():
            write_note(_NOTES, name, {**noted, **found})


def _noted(name: str) -> dict[str, str]:
    found = read_note(_NOTES, name)
    return cast("dict[str, str]", found) if isinstance(found, dict) else {}


def _by_folder(
    chunks: Iterable[ChunkTask | TokenChunk],
) -> Iterable[tuple[str, list[ChunkFingerprint]]]:
    """Chunks of each file, by what their places begin with."""
    groups: dict[tuple[ChunkStore, int], list[ChunkFingerprint]] = {}
    for each in chunks:
        store = each.store if isinstance(each, TokenChunk) else each.chunks
        groups.setdefault((store, each.chars.file), []).append(each.fingerprint)
    for (store, _), some in groups.items():
        yield store.where(some[0].chars).rpartition("/")[0], some


def _name(folder: str, some: ChunkFingerprint) -> str:
    """Of the note on a folder; other releases compare anew."""
    known_by = [some.corpus_sha256, some.tokenizer_sha256, some.code_version, *_versions()]
    if some.recipe_sha256 is not None:
        known_by.append(some.recipe_sha256)
    return sha256(dumps([folder, *known_by]).encode()).hexdigest()


@cache
def _versions() -> list[str]:
    return [version(package) for package in ("codedata", "tokenizers")]
