"""Opened datasets -> what a trainer needs to know beside samples: the tokenizer, ids, the card.

No shard is read for any of it; the tokenizer is looked for when it is first asked for.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from codedata.errors import DatasetError
from codedata.format.facts import pad_id_of
from codedata.store.dataset_folder import Dataset

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from codedata.training.tokenizer import DatasetTokenizer

_SHOWN_DIGITS = 12
"""Of a digest: as many as tell commits apart."""


class Described:
    """What is known of datasets beside their samples.

    Attributes:
        datasets: the opened folders, of one tokenizer.
    """

    datasets: list[Dataset]
    _tokenizer: "DatasetTokenizer | None" = None

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer that made the samples, for transformers: looked for, or fetched, once.

        It encodes a text as its tokenizer.json says. Its BOS and EOS are those of the dataset's
        recipe, else of tokenizer_config.json, its pad token is the samples'; each where it is one
        of the tokenizer's added tokens, since another would become one, and change the ids of text.

        Raises:
            DatasetError: it is not known, or not to be had, or the installed transformers has other
                ids.
        """
        return self._known_tokenizer().for_transformers

    def load_tokenizer(self, source: str | os.PathLike[str]) -> "PreTrainedTokenizerFast":
        """Take `tokenizer` from a folder from now on: where it is not found by itself.

        Args:
            source: a folder, a tokenizer.json, or the name of a repository of the hub.

        Raises:
            DatasetError: it is another than the one that made the samples; of samples that do not
                say which made them any is taken.
            TokenizerError: there is none.
        """
        from codedata.training.tokenizer import DatasetTokenizer  # see `_known_tokenizer`

        self._tokenizer = DatasetTokenizer.at(os.fspath(source), self.datasets)
        return self.tokenizer

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding needs: one more than the largest id that the tokenizer can give.

        Where its ids have gaps that is more than `len(tokenizer)`. Errors as of `tokenizer`.
        """
        return self._known_tokenizer().vocab_size

    @property
    def eos_token_id(self) -> int | None:
        """What ends a document: by the recipe, else by tokenizer_config.json; None without any.

        Errors as of `tokenizer`.
        """
        return self._known_tokenizer().ids.get("eos")

    @property
    def pad_token_id(self) -> int:
        """What fills up samples. A text may have it, too: `with_padding_masked` goes by position.

        Raises:
            DatasetError: it is not known, or several datasets have several.
        """
        ids = {pad for each in self.datasets if (pad := pad_id_of(each.facts)) is not None}
        if len(ids) != 1:
            where = self.datasets[0].where
            raise DatasetError(
                f"the samples of {where} and what is read with it are padded with {sorted(ids)}; "
                "ask each dataset alone"
                if ids
                else f"{where} does not say which token fills up its samples, as datasets of the "
                "old script do not; make it again, or go by the switch that it was made with"
            )
        return ids.pop()

    @property
    def card(self) -> str | None:
        """The text of README.md, of several datasets one after the other; None without any."""
        texts = [each.texts[1] for each in self.datasets]
        return "\n".join(text.decode(errors="replace") for text in texts if text) or None

    def _known_tokenizer(self) -> "DatasetTokenizer":
        if self._tokenizer is None:
            # A tenth of a second of imports that training itself does not need.
            from codedata.training.tokenizer import DatasetTokenizer

            self._tokenizer = DatasetTokenizer.of(self.datasets)
        return self._tokenizer


def summary(
    kind: str,
    datasets: Sequence[Dataset],
    *,
    num_samples: int,
    masks_padding: bool,
    digest: str | None,
) -> str:
    """One line that says which samples an object of a class holds; nothing is read for it.

    Args:
        kind: the name of the class.
        datasets: that it reads.
        num_samples: which it gives.
        masks_padding: whether the labels of padding are -100.
        digest: of the samples; None where it is not known yet.
    """
    more = f" and {len(datasets) - 1} more" if datasets[1:] else ""
    whole = sum(each.num_samples for each in datasets)
    of = "" if num_samples == whole else f" of {whole:,}"
    padding = "padding masked" if masks_padding else "padding in labels"
    said = [f"{num_samples:,}{of} samples of {datasets[0].seq_length:,} tokens", padding]
    said += ["documents"] if datasets[0].has_documents else []
    said += [f"digest {digest[:_SHOWN_DIGITS]}..."] if digest else []
    return f"{kind}({datasets[0].where!r}{more}: {', '.join(said)})"
