"""The facts in a README.md of codedata before `codedata.yaml`. Frozen: it reads what was written.

The head of such a card has the facts under `codedata`, in the same subset of YAML, and among them
the sha256 of the card's own bytes with 64 zeros in its place.
"""

import hashlib
import json
import re

from codedata.format.facts import MAX_FACTS_BYTES, Facts, parse_lines, typed_facts

_OWN_SHA256 = re.compile(rb'^  card_sha256: "([0-9a-f]{64})"$', re.MULTILINE)
_DIGEST = re.compile(rb'^  digest: "([0-9a-f]{64})"$', re.MULTILINE)
_NAME = re.compile(r'---\npretty_name: (".*")\n')


def old_card_digest(card: bytes) -> str | None:
    """The digest that a card names; None where it is not as it was written."""
    own, digest = _OWN_SHA256.search(card), _DIGEST.search(card)
    if own is None or digest is None or len(card) > MAX_FACTS_BYTES:
        return None
    blank = card[: own.start(1)] + b"0" * 64 + card[own.end(1) :]
    return digest[1].decode() if hashlib.sha256(blank).hexdigest().encode() == own[1] else None


def parse_old_card(card: bytes) -> Facts:
    """The facts of a card.

    Raises:
        ValueError: it is not as it was written, or lacks or misstates something.
    """
    if old_card_digest(card) is None:
        raise ValueError("is not as it was written")
    text = card.decode()
    name, (_, _, rest) = _NAME.match(text), text.partition("\ncodedata:\n")
    head, end, _ = rest.partition("\n---\n")
    if name is None or not end:
        raise ValueError("has no head of facts")
    fields = parse_lines(line.removeprefix("  ") for line in head.split("\n"))
    try:
        tokenizer, corpus = fields["tokenizer"], fields["corpus"]
        ids, sha256 = tokenizer.pop("probe_ids", None), tokenizer.pop("probe_sha256", None)
        tokenizer["probe"] = None if ids is None else {"text_sha256": sha256, "ids": ids}
        files = {str(int(file)): known for file, known in corpus.pop("files", {}).items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"lacks or misstates {error}") from error
    return typed_facts({**fields, "name": json.loads(name[1]), "files": files})
