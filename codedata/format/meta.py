"""`dump-meta_data.json` <-> the entries of a dataset's shards.

The meta is the last file written and says which shards belong to the dataset:
`{"dump-0.pkl": {"num_samples": n, "num_tokens": n * seq_length, ...}, ...}`, nothing beside the
shards. Our own entries add what integrity needs; those of the old script have the two counts only.
Of documents lie two files beside each shard, its sidecars; either all shards have them, or none.
"""

import gc
import hashlib
import json
import os
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple, cast

from codedata.errors import DatasetError
from codedata.format.ranges import MAX_CHARACTERS, CharRange

META_NAME = "dump-meta_data.json"

MAX_SHARDS = 1 << 20
"""Ten terabytes of text by the defaults; opening them takes seconds and a gigabyte."""

MAX_META_BYTES = 672 * MAX_SHARDS
"""An entry takes some 370 bytes, with documents 580; a larger file is no meta."""

_LEAST_BYTES = 8
"""Of a value with its name, which alone has more; denser JSON takes ten times its size to parse."""

_NO_DENSITY_BYTES = 1024
"""Below, nothing is worth refusing for its density."""

_SHOWN_CHARS = 80
"""A message shows so much of a value."""

_NEVER = (1 << 31) - 1
"""Objects between two searches of the garbage collector: more than a meta makes."""

_SHARD_NAME = re.compile(r"dump-(0|[1-9][0-9]{0,17})\.pkl", re.ASCII)
_SHARD_FILE = re.compile(
    r"dump-(0|[1-9][0-9]{0,17})\.(?:pkl|documents\.npy|documents\.parquet)", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

_WRITTEN_ENTRY = re.compile(
    rb"""
    \n[ ]{2}"dump-(0|[1-9][0-9]{0,17})[.]pkl":[ ][{]
    \n[ ]{4}(
        "num_samples":[ ](NUMBER),
        \n[ ]{4}"num_tokens":[ ](NUMBER)
        (?:,\n[ ]{4}"last_sample_tokens":[ ](NUMBER))?
        (?:,\n[ ]{4}"sha256":[ ]"(SHA256)")?
        (?:
            ,\n[ ]{4}"start_character":[ ](0|NUMBER)
            ,\n[ ]{4}"stop_character":[ ](0|NUMBER)
            (?:,\n[ ]{4}"file":[ ](NUMBER))?
        )?
        (?:
            ,\n[ ]{4}"num_text_tokens":[ ](NUMBER)
            ,\n[ ]{4}"spans_sha256":[ ]"(SHA256)"
            ,\n[ ]{4}"documents_sha256":[ ]"(SHA256)"
        )?
    ),
    \n[ ]{4}"entry_sha256":[ ]"(.{64})"
    \n[ ]{2}[}](?:,|\n[}]\n\Z)
    """.replace(b"NUMBER", rb"[1-9][0-9]{0,17}").replace(b"SHA256", rb"[0-9a-f]{64}"),
    re.VERBOSE,
)
"""An entry as `dump_meta` writes it, from the line break before it to the comma after it.

`entry_sha256` is any 64 bytes, for it is compared.
"""


class ShardEntry(NamedTuple):
    """What the meta says of one shard; a tuple, of which a dataset may have a million.

    Attributes:
        num_samples: rows of the shard, at least 1.
        num_tokens: num_samples * seq_length, padding included.
        sha256: of the shard's bytes; None in a dataset of the old script.
        chars: the characters of the text that its chunk covers, and of which file of the corpus;
            None likewise.
        last_sample_tokens: tokens of the last sample that are the text's, the rest of it being
            padding: seq_length where it is full; None in a dataset of the old script, or of an
            older codedata, where padding cannot be told from text; and where documents are packed
            by best fit, where any sample may be padded.
        num_text_tokens: tokens of all samples that are no padding; None without documents.
        spans_sha256: of the bytes of `dump-N.documents.npy`; None without documents.
        documents_sha256: of those of `dump-N.documents.parquet`, likewise.
    """

    num_samples: int
    num_tokens: int
    sha256: str | None = None
    chars: CharRange | None = None
    last_sample_tokens: int | None = None
    num_text_tokens: int | None = None
    spans_sha256: str | None = None
    documents_sha256: str | None = None

    @property
    def seq_length(self) -> int:
        """Tokens a sample."""
        return self.num_tokens // self.num_samples

    @property
    def has_documents(self) -> bool:
        """Whether sidecars lie beside it."""
        return self.spans_sha256 is not None

    @property
    def num_padding(self) -> int | None:
        """Tokens that only fill up samples; None where it does not say."""
        if self.num_text_tokens is not None:
            return self.num_tokens - self.num_text_tokens
        last = self.last_sample_tokens
        return None if last is None else self.seq_length - last

    def files(self, index: int) -> dict[str, str | None]:
        """The files of the shard with a number, by name, the shard first; of each its sha256."""
        names = file_names(index, documents=self.has_documents)
        return dict(
            zip(names, (self.sha256, self.spans_sha256, self.documents_sha256), strict=False)
        )


def shard_name(index: int) -> str:
    """The file name of shard `index`."""
    return f"dump-{index}.pkl"


def spans_name(index: int) -> str:
    """The file name of what says where documents lie in shard `index`."""
    return f"dump-{index}.documents.npy"


def documents_name(index: int) -> str:
    """The file name of what says which documents they are."""
    return f"dump-{index}.documents.parquet"


def file_names(index: int, *, documents: bool) -> list[str]:
    """The names of the files of the shard with a number, the shard first."""
    sidecars = [spans_name(index), documents_name(index)] if documents else []
    return [shard_name(index), *sidecars]


def shard_index(name: str) -> int | None:
    """The number in a shard's file name; None where it is not exactly such a name."""
    match = _SHARD_NAME.fullmatch(name)
    return int(match[1]) if match else None


def file_index(name: str) -> int | None:
    """The number in the name of a shard, or of a file beside one; None of any other name."""
    match = _SHARD_FILE.fullmatch(name)
    return int(match[1]) if match else None


def _entry_fields(entry: ShardEntry) -> dict[str, int | str | None]:
    start, stop, file = entry.chars or (None, None, 0)
    return {
        "num_samples": entry.num_samples,
        "num_tokens": entry.num_tokens,
        "last_sample_tokens": entry.last_sample_tokens,
        "sha256": entry.sha256,
        "start_character": start,
        "stop_character": stop,
        "file": file or None,
        "num_text_tokens": entry.num_text_tokens,
        "spans_sha256": entry.spans_sha256,
        "documents_sha256": entry.documents_sha256,
    }


def dump_meta(entries: Iterable[ShardEntry]) -> bytes:
    """The bytes of the meta; the i-th of the entries describes `dump-{i}.pkl`.

    Each entry carries the sha256 of its other fields, as `json.dumps` writes them on one line, so
    that a flipped bit in a character range, which no shard contradicts, is found too. The whole is
    what `json.dumps` writes with an indent of 2; its encoder would take four times as long.
    """
    meta, before = BytesIO(), b"{"
    for index, entry in enumerate(entries):
        named = f'"{shard_name(index)}": {{'
        fields = [
            f'"{name}": "{value}"' if isinstance(value, str) else f'"{name}": {value}'
            for name, value in _entry_fields(entry).items()
            if value is not None
        ]
        sealed = hashlib.sha256(f"{{{named}{', '.join(fields)}}}}}".encode()).hexdigest()
        fields.append(f'"entry_sha256": "{sealed}"')
        written = ",\n    ".join(fields)
        meta.write(b"%b\n  %b" % (before, f"{named}\n    {written}\n  }}".encode()))
        before = b","
    meta.write(b"\n}\n")
    return meta.getvalue()


class _BadMetaError(ValueError):
    """Why a meta is refused; `parse_meta` adds where it lies."""


def parse_meta(data: bytes, where: str) -> list[ShardEntry]:
    """The entries in the order of their shards' numbers.

    Args:
        data: the file's bytes.
        where: its path, for messages.

    Raises:
        DatasetError: not JSON, not of the format, or contradicting itself.
    """
    try:
        with _unsearched():
            return _parse_meta(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{where} is damaged or no dataset's meta: {error}; make the dataset again"
        ) from error


_usual = gc.get_threshold()[0]


@contextmanager
def _unsearched() -> Generator[None]:
    """Nothing that is made here refers to itself.

    The collector would go through all that the process has again and again, as more is made.
    Whether it is enabled is for others to say, also meanwhile. Of threads that overlap, who set the
    threshold sets it back, and so does a process that is forked.
    """
    global _usual  # noqa: PLW0603 - the collector is the process's
    before = gc.get_threshold()[0]
    if before != _NEVER:
        _usual = before
        gc.set_threshold(_NEVER)
    try:
        yield
    finally:
        if before != _NEVER:
            _search_as_usual()


def _search_as_usual() -> None:
    if gc.get_threshold()[0] == _NEVER:  # nobody chose another
        gc.set_threshold(_usual)


os.register_at_fork(after_in_child=_search_as_usual)


def _require_bounded(data: bytes) -> None:
    """Refuse, before anything is parsed, what would take long or much memory to be refused."""
    if len(data) > MAX_META_BYTES:
        raise _BadMetaError(f"it has {len(data)} bytes, more than {MAX_META_BYTES}")
    if (num_objects := data.count(b"{")) > MAX_SHARDS + 1:
        raise _BadMetaError(
            f"it has {num_objects - 1} entries, more than the {MAX_SHARDS} shards that a dataset "
            "may have; make fewer, larger ones (max_dump_size, chunk_size)"
        )


def _parse_meta(data: bytes) -> list[ShardEntry]:
    _require_bounded(data)
    entries = _entries_as_written(data) or _entries_of_json(data)
    if len(lengths := {entry.seq_length for entry in entries}) > 1:
        raise _BadMetaError(f"its shards have samples of different lengths: {sorted(lengths)}")
    _require_alike(entries)
    return entries


def _entries_of_json(data: bytes) -> list[ShardEntry]:
    """The entries of any meta; what they say of one another is not looked at."""
    num_values = data.count(b"{") + data.count(b"[") + data.count(b",")
    if len(data) > _NO_DENSITY_BYTES and num_values * _LEAST_BYTES > len(data):
        raise _BadMetaError(f"it has {num_values} values in {len(data)} bytes, as no meta has")
    parsed: object = json.loads(data.decode("utf-8"), object_pairs_hook=_unique_names)
    if not isinstance(parsed, dict):
        raise _BadMetaError(f"it is {_shown(parsed)}, not an object of shards")
    if not parsed:
        raise _BadMetaError("it is {} and names no shards")
    shards = cast("dict[str, object]", parsed)
    entries: dict[int, ShardEntry] = {}
    for name in [*shards]:
        index, fields = shard_index(name), shards.pop(name)
        if index is None:
            raise _BadMetaError(f"{_shown(name)} is not the name of a shard (dump-0.pkl, ...)")
        if not isinstance(fields, dict):
            raise _BadMetaError(f"the entry of {name} is {_shown(fields)}, not an object")
        entries[index] = _parse_entry(name, cast("dict[str, object]", fields))
    for index in range(len(entries)):
        if index not in entries:
            raise _BadMetaError(f"it names {len(entries)} shards, but not {shard_name(index)}")
    return [entries[index] for index in range(len(entries))]


def _entries_as_written(data: bytes) -> list[ShardEntry] | None:
    """The entries of a meta that `dump_meta` wrote; None of any other.

    A pattern takes a quarter of the time of JSON, and little memory. What it takes is JSON of these
    very values in this order; whatever else is wrong is left for `_entries_of_json` to say.
    """
    entries: list[ShardEntry] = []
    place = 1
    for match in _WRITTEN_ENTRY.finditer(data, place):
        index, sealed, samples, tokens, last, sha256, start, stop, *rest = match.groups()
        file, text, spans, documents, recorded = rest
        entry = ShardEntry(
            int(samples),
            int(tokens),
            sha256.decode() if sha256 else None,
            CharRange(int(start), int(stop), int(file or 0)) if start else None,
            int(last) if last else None,
            int(text) if text else None,
            spans.decode() if spans else None,
            documents.decode() if documents else None,
        )
        on_one_line = b'{"dump-%b.pkl": {%b}}' % (index, sealed.replace(b",\n    ", b", "))
        if (
            match.start() != place
            or int(index) != len(entries)
            or not _is_sound(entry)
            or hashlib.sha256(on_one_line).hexdigest().encode() != recorded
        ):
            return None
        entries.append(entry)
        place = match.end()
    is_whole = data.startswith(b"{") and data.endswith(b"}\n") and place == len(data)
    return entries if is_whole else None


def _is_sound(entry: ShardEntry) -> bool:
    """Whether the numbers of an entry, each in the range of its pattern, agree."""
    seq_length, rest = divmod(entry.num_tokens, entry.num_samples)
    last, text = entry.last_sample_tokens, entry.num_text_tokens
    return (
        not rest
        and (entry.chars is None or entry.chars.start <= entry.chars.stop)
        and (last is None or last <= seq_length)
        and (text is None or entry.num_samples <= text <= entry.num_tokens)
        and (text is None or last is None or text == entry.num_tokens - seq_length + last)
    )


def _require_alike(entries: Sequence[ShardEntry]) -> None:
    """Refuse entries of which only some have documents, or of which some are packed otherwise."""
    having = [entry.has_documents for entry in entries]
    if True not in having:
        return
    if False in having:
        raise _BadMetaError(
            f"it names sidecars of {shard_name(having.index(True))}, and none of "
            f"{shard_name(having.index(False))}"
        )
    if len({entry.last_sample_tokens is None for entry in entries}) > 1:
        raise _BadMetaError(
            "last_sample_tokens stands in some entries only: documents are packed by best fit, or "
            "one after the other"
        )


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise _BadMetaError(f"the name {_shown(twice)} stands in it twice")
    return names


def _shown(value: object) -> str:
    """A value for a message: as it is, or its start where it is long."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."


@dataclass(slots=True)
class _Fields:
    """What the entry of a shard says, by name."""

    name: str
    fields: dict[str, object]

    def count(self, key: str, least: int, most: int = MAX_CHARACTERS) -> int:
        value = self.fields.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _BadMetaError(f"{key} of {self.name} is {_shown(value)}, not a whole number")
        if not least <= value <= most:
            raise _BadMetaError(
                f"{key} of {self.name} is {_shown(value)}, outside {least} to {most}"
            )
        return value

    def sha256(self, key: str) -> str | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if not (isinstance(value, str) and _SHA256.fullmatch(value)):
            raise _BadMetaError(
                f"{key} of {self.name} is {_shown(value)}, not 64 hexadecimal digits"
            )
        return value

    def chars(self) -> CharRange | None:
        if self.fields.keys().isdisjoint(("start_character", "stop_character")):
            return None
        file = self.count("file", 1) if "file" in self.fields else 0
        chars = CharRange(self.count("start_character", 0), self.count("stop_character", 0), file)
        if chars.num_chars < 0:
            raise _BadMetaError(f"{self.name} covers characters {chars.start} to {chars.stop}")
        return chars

    def require_whole(self) -> None:
        """All that stands there, so that an entry of a newer codedata is whole as well."""
        recorded = self.fields.get("entry_sha256")
        if recorded is None:
            return
        others = {key: value for key, value in self.fields.items() if key != "entry_sha256"}
        if recorded != _entry_sha256(self.name, others):
            raise _BadMetaError(
                f"the entry of {self.name} does not have the sha256 that it states, "
                f"{_shown(recorded)}"
            )


def _entry_sha256(name: str, fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps({name: fields}).encode()).hexdigest()


def _parse_entry(name: str, fields: dict[str, object]) -> ShardEntry:
    found, last, text = _Fields(name, fields), None, None
    num_samples, num_tokens = found.count("num_samples", 1), found.count("num_tokens", 1)
    if num_tokens % num_samples:
        raise _BadMetaError(f"{num_tokens} tokens of {name} are not {num_samples} equal samples")
    sha256, spans, documents = map(found.sha256, ("sha256", "spans_sha256", "documents_sha256"))
    chars, seq_length = found.chars(), num_tokens // num_samples
    if "last_sample_tokens" in fields:
        last = found.count("last_sample_tokens", 1, seq_length)
    if "num_text_tokens" in fields or (spans, documents) != (None, None):
        text = found.count("num_text_tokens", num_samples, num_tokens)
        if spans is None or documents is None:
            missing = "spans_sha256" if spans is None else "documents_sha256"
            raise _BadMetaError(f"the entry of {name} names documents, and has no {missing}")
        if last is not None and text != num_tokens - seq_length + last:
            raise _BadMetaError(
                f"{text} tokens of {name} are text (num_text_tokens), where its samples are full, "
                f"and its last has {last} (last_sample_tokens)"
            )
    found.require_whole()
    return ShardEntry(
        num_samples=num_samples,
        num_tokens=num_tokens,
        sha256=sha256,
        chars=chars,
        last_sample_tokens=last,
        num_text_tokens=text,
        spans_sha256=spans,
        documents_sha256=documents,
    )
