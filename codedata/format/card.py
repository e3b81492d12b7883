"""A dataset's card: what it was made of, by what and how -> README.md with a YAML head, and back.

The head is what the Hugging Face Hub's cards have; what codedata knows stands in it under
`codedata`. The card states its own sha256, so that a card that someone edited is told from one that
was written here, and the digest of the dataset it belongs to. It holds no date and no path of a
machine: the same inputs, wherever they lie, and the same command write the same card.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from codedata.format.meta import ShardEntry
from codedata.printable import printable
from codedata.recipe.settings import Settings

CARD_NAME = "README.md"

MAX_CARD_BYTES = 1 << 20
"""A card takes some kilobytes; a larger file is not one."""

_OWN_SHA256 = re.compile(rb'^  card_sha256: "([0-9a-f]{64})"$', re.MULTILINE)
_DIGEST = re.compile(rb'^  digest: "([0-9a-f]{64})"$', re.MULTILINE)
_PROBE = re.compile(
    rb'^    probe_sha256: "([0-9a-f]{64})"\n'
    rb"    probe_ids: (\[[0-9]{1,10}(?:, [0-9]{1,10}){0,4095}\])$",
    re.MULTILINE,
)
"""The text has 184 characters, so its ids are fewer than these; the card may be a stranger's."""

_NO_SHA256 = b"0" * 64
_TOKENIZER = re.compile(
    rb'^  tokenizer:\n    source: (".*")\n    sha256: "([0-9a-f]{64})"$', re.MULTILINE
)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a dataset's tokenizer makes of codedata's own text.

    Attributes:
        text_sha256: of that text, which another release may have changed.
        ids: by the reference rule, framed as a chunk's are.
    """

    text_sha256: str
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a dataset was made of, and how to make it again.

    Attributes:
        corpus: what identifies the parquet: sha256, and the file's name or repository, path and
            commit; of several, those of each under `files`.
        tokenizer: what identifies the tokenizer: its name in the hub or its folder's, the hub's
            commit, its fingerprint.
        engine: what tokenized.
        versions: of codedata and what decides its ids.
        command: repeats the dataset.
        probe: what the tokenizer makes of codedata's own text.
    """

    corpus: Mapping[str, Any]
    tokenizer: Mapping[str, str]
    engine: str
    versions: Mapping[str, str]
    command: str
    probe: Probe | None = None


def dump_card(
    name: str, origin: Origin, settings: Settings, entries: Sequence[ShardEntry], digest: str
) -> bytes:
    """The bytes of a card.

    Args:
        name: of the dataset: its folder's.
        origin: what it was made of.
        settings: the switches.
        entries: of its meta.
        digest: of its meta.
    """
    counts = {
        "shards": len(entries),
        "samples": sum(entry.num_samples for entry in entries),
        "tokens": sum(entry.num_tokens for entry in entries),
        "seq_length": settings.seq_length,
    }
    probe = origin.probe
    probed = {"probe_sha256": probe.text_sha256, "probe_ids": [*probe.ids]} if probe else {}
    facts: dict[str, Any] = {
        "digest": digest,
        "card_sha256": _NO_SHA256.decode(),
        "corpus": origin.corpus,
        "tokenizer": {**origin.tokenizer, **probed},
        "switches": settings.as_dict() | {"tokenizer_base": origin.tokenizer.get("source", "")},
        "engine": origin.engine,
        "versions": origin.versions,
        "counts": counts,
        "command": origin.command,
    }
    name, repo = printable(name), origin.corpus.get("repo")
    terms = (
        f"\nThe corpus is of [{repo}](https://huggingface.co/datasets/{repo}), whose terms hold "
        "for what is made of it too.\n"
        if repo
        else ""
    )
    card = f"""---
pretty_name: {_scalar(name)}
license: other
task_categories:
  - text-generation
tags:
  - code
  - codedata
codedata:
{_yaml(facts, "  ")}
---

# {name}

{counts["samples"]:,} samples of {counts["seq_length"]:,} tokens of source code, in \
{counts["shards"]:,} shards: made by codedata, to train language models on.

```python
from codedata import PickledTrainerDataset

dataset = PickledTrainerDataset([{json.dumps(name, ensure_ascii=False)}])  # this folder
```

Each `dump-N.pkl` is a pickle of a list of lists of token ids, too. What it was made of stands in
the head of this file. The command that makes it again, and the same to the last byte:

```bash
{printable(origin.command)}
```

## Licence

The samples hold the text of the corpus's documents. Each document keeps its own licence and its
authors' rights; nothing here grants more.
{terms}""".encode()
    return sign_card(card)


def sign_card(card: bytes) -> bytes:
    """The card with its own sha256 in the place that it has for it."""
    blank = _OWN_SHA256.sub(b'  card_sha256: "' + _NO_SHA256 + b'"', card, count=1)
    own = hashlib.sha256(blank).hexdigest().encode()
    return _OWN_SHA256.sub(b'  card_sha256: "' + own + b'"', blank, count=1)


def is_untouched_card(data: bytes) -> bool:
    """Whether these are the bytes of a card as `dump_card` wrote it."""
    found = _OWN_SHA256.search(data)
    if found is None or found[1] == _NO_SHA256:
        return False
    blank = data[: found.start(1)] + _NO_SHA256 + data[found.end(1) :]
    return hashlib.sha256(blank).hexdigest().encode() == found[1]


def card_digest(data: bytes) -> str | None:
    """The digest of the dataset that a card belongs to."""
    found = _DIGEST.search(data)
    return found[1].decode() if found else None


def card_probe(data: bytes) -> Probe | None:
    """What a card says of its tokenizer on codedata's own text; None where it does not."""
    found = _PROBE.search(data)
    if found is None:
        return None
    return Probe(text_sha256=found[1].decode(), ids=tuple(json.loads(found[2])))


def card_tokenizer(data: bytes) -> tuple[str, str] | None:
    """Name and fingerprint of the tokenizer that a card states."""
    found = _TOKENIZER.search(data)
    return (str(json.loads(found[1])), found[2].decode()) if found else None


def _yaml(values: Mapping[str, Any], indent: str) -> str:
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = _yaml(cast("Mapping[str, Any]", value), indent + "  ")
            lines += [f"{indent}{key}:", inner]
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return "\n".join(lines)


def _scalar(value: str | int | list[int]) -> str:
    """A value as YAML: JSON's are YAML's too."""
    return json.dumps(printable(value) if isinstance(value, str) else value, ensure_ascii=False)
