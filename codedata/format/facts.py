"""`codedata.yaml` <-> what a dataset was made of, typed.

Written and read is a strict subset of YAML: a line is a name and a JSON text, whole number or list
of whole numbers, or opens a mapping. So there are no aliases, tags or nesting that a small file
could use up memory with. Three last lines tie it: the digest of the dataset, the sha256 of the
card that was rendered from it, and that of all bytes before. It holds no date and no path of a
machine: the same inputs, wherever they lie, and the same command give the same bytes.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from codedata.errors import CorpusError
from codedata.format.documents import DocumentCounts
from codedata.format.meta import ShardEntry, dump_meta
from codedata.format.packing import MAX_TOKEN_ID
from codedata.printable import printable

FACTS_NAME = "codedata.yaml"

FORMAT = 1
"""Raised by what older readers must not overlook; names that they do not know, they pass over."""

MAX_FACTS_BYTES = 1 << 22
"""A file of a corpus takes some 140 bytes, of a long name twice that: room for 10,000 of them."""

MAX_PROBE_IDS = 4096
"""codedata's own text has 184 characters, so its ids are fewer."""

_SHOWN_FILES = 10
"""Numbers of files that people are told."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LINE = re.compile(
    r"(?P<indent>(?:  ){0,3})(?P<name>[A-Za-z0-9_]{1,80}):"
    r'(?: (?P<value>".*"|[0-9]{1,19}|\[[0-9, ]*\]))?'
)
_SEAL = re.compile(
    rb'digest: "([0-9a-f]{64})"\ncard_sha256: "([0-9a-f]{64})"\nfacts_sha256: "([0-9a-f]{64})"\n\Z'
)
_OWN_LINE_BYTES = len(f'facts_sha256: "{"0" * 64}"\n')


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a dataset's tokenizer makes of codedata's own text.

    Attributes:
        text_sha256: of that text, which another release may have changed.
        ids: by the reference rule, framed as a chunk's are.
    """

    text_sha256: str
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        _require_sha256(self.text_sha256)
        if not 0 < len(self.ids) <= MAX_PROBE_IDS or max(self.ids) > MAX_TOKEN_ID:
            raise ValueError(f"{len(self.ids)} ids are not those of a short text")


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """What identifies a tokenizer.

    Attributes:
        source: its name in the hub, or its folder's.
        sha256: its fingerprint.
        revision: the hub's commit; None of one of this machine.
        probe: what it makes of codedata's own text; None in a dataset of an older codedata.
    """

    source: str
    sha256: str
    revision: str | None = None
    probe: Probe | None = None

    def __post_init__(self) -> None:
        _require_sha256(self.sha256)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much a dataset holds; `tokens` with padding."""

    shards: int
    samples: int
    tokens: int
    seq_length: int


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a dataset is made of, and how to make it again.

    Attributes:
        corpus: what identifies the parquet: sha256, and the file's name or repository, path and
            commit; of several, what they share; of several corpora, their names too.
        files: of a corpus of several files, what identifies each, by number; of several corpora,
            also whose it is.
        tokenizer: what identifies the tokenizer.
        engine: what tokenized.
        versions: of codedata and what decides its ids.
        command: repeats the dataset.
    """

    corpus: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[int, Mapping[str, str]] = field(default_factory=dict[int, Mapping[str, str]])
    tokenizer: TokenizerFacts
    engine: str
    versions: Mapping[str, str]
    command: str


@dataclass(frozen=True, kw_only=True)
class Facts(Origin):
    """What a dataset was made of, what it is called, and which it is.

    Attributes:
        name: of the dataset: its folder's.
        switches: by name.
        counts: of its shards.
        digest: of its meta.
        recipe: how documents became samples, as a YAML has it, numbers that are not whole as text;
            None in the reference mode.
        documents: what became of them; None likewise.
    """

    name: str
    switches: Mapping[str, int | str]
    counts: Counts
    digest: str
    recipe: Mapping[str, Any] | None = None
    documents: DocumentCounts | None = None

    __pydantic_config__ = {"strict": True}  # noqa: RUF012  (pydantic's name; nobody changes it)

    @property
    def corpora(self) -> tuple[str, ...]:
        """The names of several corpora; empty where there is one."""
        return tuple(self.corpus["corpora"].split(", ")) if "corpora" in self.corpus else ()

    @property
    def repos(self) -> list[str]:
        """The repositories that the text is of, each once."""
        known = [self.corpus, *(self.files.values() if self.corpora else ())]
        return list(dict.fromkeys(each["repo"] for each in known if "repo" in each))

    @property
    def shown_corpus(self) -> str:
        """The corpus, for people."""
        names = ("repo", "path", "file", "commit", "characters")
        known = [self.corpus[name] for name in names if name in self.corpus]
        if self.corpora:
            count = Counter(each.get("corpus") for each in self.files.values())
            of_each = (f"{count[name]} of {name}" for name in self.corpora)
            known.append(f"{len(self.files)} files ({', '.join(of_each)})")
        elif self.files:
            numbers = [str(file) for file in self.files]
            more = ["..."] if numbers[_SHOWN_FILES:] else []
            some = ", ".join([*numbers[:_SHOWN_FILES], *more])
            known.append(f"file {some}" if len(numbers) == 1 else f"{len(numbers)} files ({some})")
        return ", ".join(known)


def pad_id_of(facts: Facts | None) -> int | None:
    """What fills up samples; None where nothing says it."""
    pad = facts and facts.switches.get("pad_token")
    return pad if isinstance(pad, int) else None


def samples_by_corpus(facts: Facts, entries: Sequence[ShardEntry]) -> dict[str, int]:
    """How many samples of a dataset are of each of its corpora; empty where it has one."""
    counts = dict.fromkeys(facts.corpora, 0)
    for entry in entries if counts else ():
        known = facts.files.get(entry.chars.file) if entry.chars else None
        if known is not None and (corpus := known.get("corpus")) in counts:
            counts[corpus] += entry.num_samples
    return counts


def facts_of(
    origin: Origin,
    *,
    name: str,
    switches: Mapping[str, int | str],
    entries: Sequence[ShardEntry],
    recipe: Mapping[str, Any] | None = None,
    documents: DocumentCounts | None = None,
) -> Facts:
    """The facts of a dataset whose meta has these entries.

    Args:
        origin: what it is made of.
        name: of the dataset.
        switches: by name.
        entries: of its shards.
        recipe: how documents became samples; None in the reference mode.
        documents: what became of them; None likewise.
    """
    return Facts(
        **vars(origin),
        name=name,
        switches={**switches, "tokenizer_base": origin.tokenizer.source},
        counts=Counts(
            shards=len(entries),
            samples=sum(entry.num_samples for entry in entries),
            tokens=sum(entry.num_tokens for entry in entries),
            seq_length=entries[0].seq_length,
        ),
        digest=hashlib.sha256(dump_meta(entries)).hexdigest(),
        recipe=None if recipe is None else plain_values(recipe),
        documents=documents,
    )


def plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping whose numbers that are not whole are text, without what is None."""

    def shown(value: Any) -> Any:
        if isinstance(value, Mapping):
            return plain_values(cast("Mapping[str, Any]", value))
        return str(value) if isinstance(value, float) else value

    return {name: shown(value) for name, value in values.items() if value is not None}


def dump_facts(facts: Facts, card: bytes) -> bytes:
    """The bytes of `codedata.yaml`, beside this card; of texts, what is printable.

    Raises:
        CorpusError: the corpus has too many files to name each.
    """
    fields: dict[str, Any] = {"format": FORMAT, "name": facts.name, **asdict(facts)}
    del fields["digest"]
    seal = {"digest": facts.digest, "card_sha256": hashlib.sha256(card).hexdigest()}
    data = "".join(_lines(fields | seal)).encode()
    if len(data) + _OWN_LINE_BYTES > MAX_FACTS_BYTES:
        raise CorpusError(
            f"naming the {len(facts.files)} files of the corpus takes {len(data)} bytes, more than "
            f"the {MAX_FACTS_BYTES} of {FACTS_NAME}; make datasets of fewer files each"
        )
    return data + f'facts_sha256: "{hashlib.sha256(data).hexdigest()}"\n'.encode()


def seal_of(data: bytes) -> tuple[str, str] | None:
    """Digest of the dataset and sha256 of the card that facts of any format are tied to.

    None where they are not as they were written.
    """
    found = _SEAL.search(data, max(0, len(data) - 4 * _OWN_LINE_BYTES))
    if found is None or len(data) > MAX_FACTS_BYTES:
        return None
    if hashlib.sha256(data[:-_OWN_LINE_BYTES]).hexdigest().encode() != found[3]:
        return None
    return found[1].decode(), found[2].decode()


def parse_facts(data: bytes) -> Facts:
    """The facts.

    Raises:
        ValueError: they are not as they were written, of a newer format, or no facts.
    """
    if seal_of(data) is None:
        raise ValueError("is not as it was written")
    fields = parse_lines(data.decode().removesuffix("\n").split("\n"))
    if (version := fields.get("format")) != FORMAT:
        raise ValueError(
            f"is of format {version}, of which this codedata knows {FORMAT} only: take a newer one"
        )
    return typed_facts(fields)


def typed_facts(fields: Mapping[str, Any]) -> Facts:
    """Facts of plain fields.

    Raises:
        ValueError: naming the first field that is missing or of another type.
    """
    # A tenth of a second that writing facts, and opening datasets, need not take.
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Facts).validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"lacks or misstates {where}: {first['msg']}") from error


def parse_lines(lines: Iterable[str]) -> dict[str, Any]:
    """The values of the subset of YAML, at most four levels deep.

    Raises:
        ValueError: naming the first line that is not of it.
    """
    fields: dict[str, Any] = {}
    open_: list[dict[str, Any]] = [fields]
    for line in lines:
        found = _LINE.fullmatch(line)
        level = len(found["indent"]) // 2 if found else 0
        if found is None or level >= len(open_) or found["name"] in open_[level]:
            raise ValueError(f"lacks or misstates the line {line[:80]!r}")
        del open_[level + 1 :]
        if found["value"] is None:
            open_.append({})
            open_[level][found["name"]] = open_[-1]
        else:
            open_[level][found["name"]] = json.loads(found["value"])
    return fields


def _lines(values: Mapping[Any, Any], indent: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            if value:
                yield f"{indent}{name}:\n"
                yield from _lines(cast("Mapping[Any, Any]", value), f"{indent}  ")
        elif value is not None:
            shown = printable(value) if isinstance(value, str) else value
            yield f"{indent}{name}: {json.dumps(shown, ensure_ascii=False)}\n"


def _require_sha256(text: str) -> None:
    if _SHA256.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no sha256")
