"""A dataset's probe and the tokenizer that training was given -> nothing, or why it is refused.

A model that is trained on the ids of one tokenizer and used with another learns nothing of use.
Releases of transformers rebuild some tokenizers otherwise than their tokenizer.json says, so the
one in the process is tried: on the text whose ids stand in the dataset's card.
"""

import logging
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers import __version__ as transformers_version

from codedata.core.card import Probe
from codedata.errors import DatasetError
from codedata.tokenization.probe import PROBE, PROBE_SHA256

logger = logging.getLogger(__name__)

_SHOWN_IDS = 5


def require_same_tokenizer(probe: Probe | None, tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer that gives other ids for codedata's own text than a dataset's did.

    Ids that only frame the text, BOS before it and EOS after it, may differ: training code often
    puts none, and codedata's are those that the tokenizer's files ask for.

    Args:
        probe: of the dataset; without one, or of another text, nothing is compared.
        tokenizer: the Trainer's processing_class; what is no tokenizer, and has none, is passed.
        folder: the dataset's, for the message.

    Raises:
        DatasetError: naming the first difference and the release of transformers.
    """
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # a processor's own
    if probe is None or probe.text_sha256 != PROBE_SHA256:
        return
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        return
    framed, bare = (
        list(tokenizer(PROBE, add_special_tokens=special, truncation=False)["input_ids"])  # pyright: ignore[reportArgumentType]
        for special in (True, False)
    )
    if framed == [*probe.ids]:
        return
    added = tokenizer.added_tokens_decoder.items()
    frame = {*tokenizer.all_special_ids, *(token_id for token_id, token in added if token.special)}
    first, text, last = _split(list(probe.ids), frame)
    _, own_text, _ = _split(bare, frame)
    if own_text == text:
        logger.info(
            "%s has %s before and %s after each chunk, which the Trainer's tokenizer does "
            "otherwise; the ids of the text are the same",
            folder,
            first,
            last,
        )
        return
    place = next(
        (i for i, (a, b) in enumerate(zip(text, own_text, strict=False)) if a != b),
        min(len(text), len(own_text)),
    )
    theirs, own = (ids[place : place + _SHOWN_IDS] for ids in (text, own_text))
    raise DatasetError(
        f"{folder} was not made with the tokenizer that the Trainer was given "
        f"({type(tokenizer).__name__}, transformers {transformers_version}): from id {place} of "
        f"codedata's own sample of C on it gives {_shown(tokenizer, own)}, the dataset's gave "
        f"{_shown(tokenizer, theirs)}; give the tokenizer that the card names, if its class or "
        "this release rebuilds it otherwise by "
        "PreTrainedTokenizerFast(tokenizer_file='tokenizer.json')"
    )


def _split(ids: list[int], frame: set[int]) -> tuple[list[int], list[int], list[int]]:
    """The special ids that lead, the text's, and the special ids that end."""
    start = next((i for i, each in enumerate(ids) if each not in frame), len(ids))
    stop = next((i for i in range(len(ids), start, -1) if ids[i - 1] not in frame), start)
    return ids[:start], ids[start:stop], ids[stop:]


def _shown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return f"{ids} {tokenizer.convert_ids_to_tokens(ids)}"
