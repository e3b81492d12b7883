"""The card of a dataset: what people and the hub are told, and that nothing is read from it."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from codedata.format.card import CARD_NAME, own_digest, render_card
from codedata.format.documents import DocumentCounts
from codedata.format.facts import FACTS_NAME, dump_facts
from codedata_tests.format.test_facts import DIGEST, FACTS
from codedata_tests.format.test_old_cards import OLD_CARD, OLD_DIGEST

CARD = render_card(FACTS)
DATA = dump_facts(FACTS, CARD)


def parts(card: bytes) -> tuple[dict[str, Any], str]:
    _, front, body = card.decode().split("---\n", 2)
    return yaml.safe_load(front), body


def test_the_head_is_what_the_hub_shows_and_the_body_what_people_ask() -> None:
    head, body = parts(CARD)
    assert head == {
        "pretty_name": "train",
        "license": "other",
        "task_categories": ["text-generation"],
        "tags": ["code", "codedata"],
    }
    for said in [
        "4 samples of 64 tokens of source code, in 2 shards",
        "\ncorpus     bigcode/the-stack, data/c/x.parquet\n",
        f"\ntokenizer  mine (sha256 {'d' * 64})\ndigest     {DIGEST}\n",
        f"```bash\n{FACTS.command}\n```",
        "`codedata.yaml` states in full",
        "own licence",
        "https://huggingface.co/datasets/bigcode/the-stack",
    ]:
        assert said in body
    known = {1: {"corpus": "b", "repo": "me/b"}, 10_000: {"corpus": "a", "repo": "me/a"}}
    both = render_card(replace(FACTS, corpus={"corpora": "b, a"}, files=known)).decode()
    assert "\ncorpus     2 files (1 of b, 1 of a)\n" in both
    assert "[me/b](https://huggingface.co/datasets/me/b) and [me/a](" in both
    here = render_card(replace(FACTS, corpus={"file": "a.parquet", "sha256": "e"}))
    assert b"huggingface" not in here


def test_of_documents_the_card_says_where_they_lie_and_what_became_of_them() -> None:
    counts = DocumentCounts(documents=5, empty=1, tokens=200, tokens_packed=200, cut=1, padding=56)
    _, body = parts(render_card(replace(FACTS, documents=counts)))
    for said in [
        "`dump-N.documents.npy`",
        "`dump-N.documents.parquet`",
        "\n| | |\n|---|---:|\n| documents | 4 of 5 |\n| documents left out | 1 empty |\n",
        "| documents cut over samples | 1 (25.0%) |\n",
        "| tokens of padding | 56 (21.9%) |\n\nWhat it was made of, which\n`codedata.yaml`",
    ]:
        assert said in body
    assert b"documents.npy" not in CARD
    assert b"token ids, too. What it was made of, which\n" in CARD


@pytest.mark.parametrize(
    "name",
    ["plain", 'a "quoted" one', "über 数据 🙂", "with\nnewline", "---", "\x1b[31m", "\u2028"],
)
def test_whatever_the_folder_is_called_the_card_is_whole_and_printable(name: str) -> None:
    card = render_card(replace(FACTS, name=name, command=f"codedata materialize {name}"))
    head, body = parts(card)
    assert head["license"] == "other"
    assert body.endswith("is made of it too.\n")
    assert all(character.isprintable() or character == "\n" for character in card.decode())


EDITED: dict[str, tuple[bytes | None, bytes | None, tuple[str, str | None]]] = {
    "as written": (DATA, CARD, (FACTS_NAME, DIGEST)),
    "no card": (DATA, None, (FACTS_NAME, DIGEST)),
    "an old card": (None, OLD_CARD, (CARD_NAME, OLD_DIGEST)),
    "an edited card": (DATA, CARD + b"\n", (CARD_NAME, None)),
    "an empty card": (DATA, b"", (CARD_NAME, None)),
    "an old card beside new facts": (DATA, OLD_CARD, (CARD_NAME, None)),
    "a card that lost its facts": (None, CARD, (CARD_NAME, None)),
    "an edited old card": (None, OLD_CARD + b"\n", (CARD_NAME, None)),
    "edited facts": (DATA.replace(b"train", b"trail"), CARD, (FACTS_NAME, None)),
    "empty facts": (b"", CARD, (FACTS_NAME, None)),
    "facts of another card": (dump_facts(FACTS, b"another"), CARD, (CARD_NAME, None)),
}


@pytest.mark.parametrize(("facts", "card", "said"), EDITED.values(), ids=EDITED)
def test_what_was_edited_is_told_and_what_was_not_names_its_dataset(
    facts: bytes | None, card: bytes | None, said: tuple[str, str | None]
) -> None:
    assert own_digest(facts, card) == said
