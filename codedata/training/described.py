"""Opened datasets -> what a trainer needs to know beside samples: the tokenizer, ids, the card.

The tokenizer is the one that the facts pin, known by its fingerprint: of the hub at a commit, a
trained one or a folder of this machine, or of the object store that holds the dataset. Its
tokenizer.json is taken as it stands, so that it gives the dataset's ids; its own tokens are those
of the samples. No shard is read, and transformers is imported for `tokenizer` alone.
"""

# transformers is partly without types.
# pyright: reportUnknownMemberType=false

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from codedata.errors import DatasetError, TokenizerError
from codedata.format.facts import Facts
from codedata.format.without_paths import name_of
from codedata.layout import Layout
from codedata.store.dataset_folder import Dataset
from codedata.tokenize.agreement import Difference, compare_with
from codedata.tokenize.made_with import tokenizer_of
from codedata.tokenize.probe import PROBE, PROBE_SHA256
from codedata.tokenize.tokenizer import LoadedTokenizer, declared_token, load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles, find_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SHOWN_DIGITS = 12
"""Of a digest: as many as tell commits apart."""


class Described:
    """What is known of datasets beside their samples.

    Attributes:
        datasets: the opened folders, of one tokenizer.
    """

    datasets: list[Dataset]
    _known: "_KnownTokenizer | None" = None

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
        return self._tokenizer().for_transformers

    def load_tokenizer(self, source: str | os.PathLike[str]) -> "PreTrainedTokenizerFast":
        """Take `tokenizer` from a folder from now on: where it is not found by itself.

        Args:
            source: a folder, a tokenizer.json, or the name of a repository of the hub.

        Raises:
            DatasetError: it is another than the one that made the samples; of samples that do not
                say which made them any is taken.
            TokenizerError: there is none.
        """
        files = find_tokenizer(os.fspath(source))
        dataset, facts = _with_facts(self.datasets)
        if facts is not None and files.fingerprint != facts.tokenizer.sha256:
            raise DatasetError(
                f"{source} is another tokenizer (sha256 {files.fingerprint}) than "
                f"{facts.tokenizer.source} (sha256 {facts.tokenizer.sha256}), which made "
                f"{dataset.where}; name a folder with the very tokenizer.json and "
                "tokenizer_config.json of that one"
            )
        self._known = _KnownTokenizer.of(files, facts)
        return self.tokenizer

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding needs: one more than the largest id that the tokenizer can give.

        Where its ids have gaps that is more than `len(tokenizer)`. Errors as of `tokenizer`.
        """
        return self._tokenizer().vocab_size

    @property
    def eos_token_id(self) -> int | None:
        """What ends a document: by the recipe, else by tokenizer_config.json; None without any.

        Errors as of `tokenizer`.
        """
        return self._tokenizer().ids.get("eos")

    @property
    def pad_token_id(self) -> int:
        """What fills up samples. A text may have it, too: `with_padding_masked` goes by position.

        Raises:
            DatasetError: it is not known, or several datasets have several.
        """
        ids = {pad for each in self.datasets if (pad := _pad_id(each.facts)) is not None}
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

    def _tokenizer(self) -> "_KnownTokenizer":
        if self._known is None:
            self._known = _KnownTokenizer.of(*_find(self.datasets))
        return self._known


@dataclass(frozen=True)
class _KnownTokenizer:
    """A tokenizer's files, and what was read of them.

    Attributes:
        files: where they are.
        facts: of a dataset that it made, where one says so.
        vocab_size: one more than the largest id that it can give.
        ids: of its BOS, EOS and pad token by their kind, those that it has.
    """

    files: TokenizerFiles
    facts: Facts | None
    vocab_size: int
    ids: Mapping[str, int]

    @classmethod
    def of(cls, files: TokenizerFiles, facts: Facts | None) -> "_KnownTokenizer":
        loaded = _load(files)
        return cls(files, facts, loaded.vocab_size, dict(_special_ids(loaded, facts)))

    @cached_property
    def for_transformers(self) -> "PreTrainedTokenizerFast":
        from transformers import PreTrainedTokenizerFast  # seconds that `vocab_size` need not take
        from transformers import __version__ as release

        loaded = _load(self.files)
        exact = Tokenizer.from_buffer(loaded.json_bytes)
        exact.no_truncation()
        exact.no_padding()
        added = exact.get_added_tokens_decoder()
        special = {f"{kind}_token": added[i] for kind, i in self.ids.items() if i in added}
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=exact, chat_template=loaded.config.get("chat_template"), **special
        )
        probe = self.facts and self.facts.tokenizer.probe
        if probe is not None and probe.text_sha256 == PROBE_SHA256:
            found = compare_with(tokenizer, PROBE, probe.ids)
            if isinstance(found, Difference):
                raise DatasetError(
                    f"transformers {release} makes another tokenizer of "
                    f"{self.files.tokenizer_json}: from id {found.place} of codedata's own sample "
                    f"of C on it gives {found.found}, the dataset's gave {found.expected}; install "
                    "another release"
                )
        return tokenizer


def _load(files: TokenizerFiles) -> LoadedTokenizer:
    """A tokenizer and all that was parsed of it, which no process of training should keep."""
    return load_tokenizer.__wrapped__(files)


def _special_ids(loaded: LoadedTokenizer, facts: Facts | None) -> Iterator[tuple[str, int]]:
    """BOS, EOS and pad token, by their kind: the samples' own go before the config's."""
    framing = ((facts and facts.recipe) or {}).get("documents", {})
    for kind in ("bos", "eos", "pad"):
        name = framing.get(kind) or declared_token(loaded.config, kind)
        found = None if name is None else loaded.tokenizer.token_to_id(name)
        if kind == "pad" and (pad_id := _pad_id(facts)) is not None:
            found = pad_id
        if found is not None:
            yield kind, found


def _pad_id(facts: Facts | None) -> int | None:
    pad = facts and facts.switches.get("pad_token")
    return pad if isinstance(pad, int) else None


def _with_facts(datasets: Sequence[Dataset]) -> tuple[Dataset, Facts | None]:
    """The first dataset that says what it was made of; the first where none does."""
    found = next((each for each in datasets if each.facts is not None), datasets[0])
    return found, found.facts


def _find(datasets: Sequence[Dataset]) -> tuple[TokenizerFiles, Facts]:
    """The files of the tokenizer that made datasets, and the facts that name it.

    Raises:
        DatasetError: they name none, or it is not to be had.
    """
    dataset, facts = _with_facts(datasets)
    by_hand = "dataset.load_tokenizer(FOLDER) takes it from a folder, a tokenizer.json or the hub"
    if facts is None:
        raise DatasetError(
            f"{dataset.where} does not say which tokenizer made it, as datasets of the old script "
            f"do not; {by_hand}"
        )
    try:
        return tokenizer_of(facts, *_places(dataset, facts)), facts
    except TokenizerError as error:
        raise DatasetError(f"{dataset.where}: {error}; {by_hand}") from error


def _places(dataset: Dataset, facts: Facts) -> tuple[Layout, list[str]]:
    """The root that a dataset's tokenizer is looked for in, and folders besides."""
    root, _, split = (dataset.url or str(dataset.folder.absolute())).rpartition("/datasets/")
    is_of_root = bool(root) and "/" not in split
    if dataset.url and is_of_root:
        return Layout.at(root, "the root of the dataset's URL"), []
    beside = [Layout(Path(root)).tokenizer(name_of(facts.tokenizer.source))] if is_of_root else []
    return Layout.from_environment(), [str(each) for each in beside]


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
