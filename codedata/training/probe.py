"""A dataset's probe and the tokenizer that training was given -> nothing, or why it is refused.

A model that is trained on the ids of one tokenizer and used with another learns nothing of use.
Releases of transformers rebuild some tokenizers otherwise than their tokenizer.json says, so the
one in the process is tried: on the text whose ids stand in the dataset's facts.
"""

import logging
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers import __version__ as transformers_version

from codedata.errors import DatasetError
from codedata.format.facts import Probe
from codedata.tokenize.agreement import Framing, compare_with
from codedata.tokenize.probe import PROBE, PROBE_SHA256

logger = logging.getLogger(__name__)


def require_same_tokenizer(probe: Probe | None, tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer that gives other ids for codedata's own text than a dataset's did.

    Ids that only frame the text, BOS before it and EOS after it, may differ.

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
    found = compare_with(tokenizer, PROBE, probe.ids)
    if isinstance(found, Framing):
        first, last = found.expected
        logger.info(
            "%s has %s before and %s after each chunk, which the Trainer's tokenizer does "
            "otherwise; the ids of the text are the same",
            folder,
            first,
            last,
        )
    elif found is not None:
        raise DatasetError(
            f"{folder} was not made with the tokenizer that the Trainer was given "
            f"({type(tokenizer).__name__}, transformers {transformers_version}): from id "
            f"{found.place} of codedata's own sample of C on it gives {found.found}, the dataset's "
            f"gave {found.expected}; give the tokenizer that codedata.yaml names, if its "
            "class or this release rebuilds it otherwise by "
            "PreTrainedTokenizerFast(tokenizer_file='tokenizer.json')"
        )
