"""Facts -> README.md, the card of a dataset for people and for the Hugging Face Hub.

Its YAML head is what the hub shows of a dataset. Nothing of it is ever read back: what a dataset
was made of stands in `codedata.yaml`, which also states the sha256 that its card was written with.
"""

import hashlib
import json

from codedata.format.document_figures import document_figures
from codedata.format.facts import FACTS_NAME, Facts, seal_of
from codedata.format.old_cards import old_card_digest
from codedata.printable import percent, printable

CARD_NAME = "README.md"


def render_card(facts: Facts) -> bytes:
    """The bytes of a card."""
    name, counts, repos = printable(facts.name), facts.counts, facts.repos
    quoted = json.dumps(name, ensure_ascii=False)  # JSON's texts are YAML's and Python's too
    terms = (
        f"\nThe corpus is of {' and '.join(map(_link, repos))}, whose terms hold for what is made "
        "of it too.\n"
        if repos
        else ""
    )
    return f"""---
pretty_name: {quoted}
license: other
task_categories:
  - text-generation
tags:
  - code
  - codedata
---

# {name}

{counts.samples:,} samples of {counts.seq_length:,} tokens of source code, in \
{counts.shards:,} shards: made by codedata, to train language models on.

```python
from codedata import PickledTrainerDataset

dataset = PickledTrainerDataset([{quoted}])  # this folder
```

Each `dump-N.pkl` is a pickle of a list of lists of token ids, too.{_of_documents(facts)}\
What it was made of, which
`{FACTS_NAME}` states in full:

```text
corpus     {printable(facts.shown_corpus)}
tokenizer  {printable(facts.tokenizer.source)} (sha256 {facts.tokenizer.sha256})
digest     {facts.digest}
```

The command that makes it again, and the same to the last byte:

```bash
{printable(facts.command)}
```

## Licence

The samples hold the text of the corpus's documents. Each document keeps its own licence and its
authors' rights; nothing here grants more.
{terms}""".encode()


def _of_documents(facts: Facts) -> str:
    """Where documents lie, and what became of them; nothing in the reference mode."""
    if facts.documents is None:
        return " "
    counts = facts.documents
    padding = f"{counts.padding:,} ({percent(counts.padding / facts.counts.tokens)})"
    rows = [*document_figures(counts), ("tokens of padding", padding)]
    figures = "".join(f"| {name} | {value} |\n" for name, value in rows)
    return (
        " Where documents lie\nin its samples says `dump-N.documents.npy`, and which they are "
        f"`dump-N.documents.parquet`:\n\n| | |\n|---|---:|\n{figures}\n"
    )


def _link(repo: str) -> str:
    return f"[{repo}](https://huggingface.co/datasets/{repo})"


def own_digest(facts: bytes | None, card: bytes | None) -> tuple[str, str | None]:
    """Which dataset the two files beside shards are of, as codedata wrote them.

    Args:
        facts: the bytes of `codedata.yaml`; None where there is none, as beside a card of an older
            codedata, which has the facts in itself.
        card: the bytes of README.md; None where there is none, or it is not to be judged.

    Returns:
        The name of the file that says so and the digest; None in place of the digest where the
        file of that name is not as it was written.
    """
    if facts is None:
        return CARD_NAME, None if card is None else old_card_digest(card)
    digest, card_sha256 = seal_of(facts) or (None, None)
    if digest and card is not None and hashlib.sha256(card).hexdigest() != card_sha256:
        return CARD_NAME, None
    return FACTS_NAME, digest
