"""The ids that a text should have, a tokenizer of transformers -> whether it gives the same.

Ids that only frame the text, BOS before it and EOS after it, are told apart from the text's own:
training code often puts none, and codedata's are those that the tokenizer's files ask for. Releases
of transformers rebuild some tokenizers otherwise than their tokenizer.json says, and then it is the
text's own ids that differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHOWN_IDS = 5


@dataclass(frozen=True, kw_only=True)
class Framing:
    """The text's own ids are the same; what stands before and after them is not.

    Attributes:
        expected: the special ids before the text, and those after it.
        found: the tokenizer's own.
    """

    expected: tuple[list[int], list[int]]
    found: tuple[list[int], list[int]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The text's own ids are others.

    Attributes:
        place: of the first, counted without what frames the text.
        expected: the ids from there on, a few, and the tokens that they are.
        found: the tokenizer's own.
    """

    place: int
    expected: str
    found: str


def compare_with(
    tokenizer: "PreTrainedTokenizerBase", text: str, expected: Sequence[int]
) -> Framing | Difference | None:
    """Encode a text and judge the ids; None where they are the same, the frame included.

    Args:
        tokenizer: as transformers made it.
        text: to encode.
        expected: its ids by the tokenizer's own files.
    """
    framed, bare = (
        list(tokenizer(text, add_special_tokens=special, truncation=False)["input_ids"])  # pyright: ignore[reportArgumentType]
        for special in (True, False)
    )
    if framed == [*expected]:
        return None
    added = tokenizer.added_tokens_decoder.items()
    special = {*tokenizer.all_special_ids, *(token_id for token_id, each in added if each.special)}
    before, own, after = _split(expected, special)
    found_before, _, found_after = _split(framed, special)
    _, found, _ = _split(bare, special)
    if found == own:
        return Framing(expected=(before, after), found=(found_before, found_after))
    place = first_difference(own, found)
    shown = [
        f"{ids} {tokenizer.convert_ids_to_tokens(ids)}"
        for ids in (own[place : place + _SHOWN_IDS], found[place : place + _SHOWN_IDS])
    ]
    return Difference(place=place, expected=shown[0], found=shown[1])


def first_difference(expected: Sequence[object], found: Sequence[object]) -> int:
    """Index of the first place where two sequences differ; the length of the shorter if none."""
    pairs = enumerate(zip(expected, found, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(expected), len(found)))


def _split(ids: Sequence[int], special: set[int]) -> tuple[list[int], list[int], list[int]]:
    """The special ids that lead, the text's, and the special ids that end."""
    start = next((i for i, each in enumerate(ids) if each not in special), len(ids))
    stop = next((i for i in range(len(ids), start, -1) if ids[i - 1] not in special), start)
    return list(ids[:start]), list(ids[start:stop]), list(ids[stop:])
