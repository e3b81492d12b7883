"""The facts of opened datasets -> the tokenizer that made them, as training takes it.

It is the one that the facts pin, known by its fingerprint: of the hub at a commit, a trained one or
a folder of this machine, or of the object store that holds the dataset. Its tokenizer.json is taken
as it stands, so that it gives the dataset's ids; its BOS, EOS and pad token are those of the
samples. transformers, which takes seconds to import, is for `for_transformers` alone.
"""

# transformers is partly without types.
# pyright: reportUnknownMemberType=false

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from codedata.errors import DatasetError, TokenizerError
from codedata.format.facts import Facts, pad_id_of
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


@dataclass(frozen=True)
class DatasetTokenizer:
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
    def of(cls, datasets: Sequence[Dataset]) -> "DatasetTokenizer":
        """The tokenizer that made datasets, looked for where they lie and where it was; or fetched.

        Raises:
            DatasetError: they do not name it, or it is not to be had.
        """
        dataset, facts = _with_facts(datasets)
        by_hand = "dataset.load_tokenizer(FOLDER) takes it from a folder"
        if facts is None:
            raise DatasetError(
                f"{dataset.where} does not say which tokenizer made it, as datasets of the old "
                f"script do not; {by_hand}"
            )
        try:
            return cls._read(tokenizer_of(facts, *_places(dataset, facts)), facts)
        except TokenizerError as error:
            raise DatasetError(f"{dataset.where}: {error}; {by_hand}") from error

    @classmethod
    def at(cls, source: str, datasets: Sequence[Dataset]) -> "DatasetTokenizer":
        """A tokenizer that a user named.

        Args:
            source: a folder, a tokenizer.json, or the name of a repository of the hub.
            datasets: that it made.

        Raises:
            DatasetError: it did not.
            TokenizerError: there is none.
        """
        files = find_tokenizer(source)
        dataset, facts = _with_facts(datasets)
        if facts is not None and files.fingerprint != facts.tokenizer.sha256:
            raise DatasetError(
                f"{source} is another tokenizer (sha256 {files.fingerprint}) than "
                f"{facts.tokenizer.source} (sha256 {facts.tokenizer.sha256}), which made "
                f"{dataset.where}; name a folder with the very tokenizer.json and "
                "tokenizer_config.json of that one"
            )
        return cls._read(files, facts)

    @classmethod
    def _read(cls, files: TokenizerFiles, facts: Facts | None) -> "DatasetTokenizer":
        loaded = _load(files)
        return cls(files, facts, loaded.vocab_size, dict(_special_ids(loaded, facts)))

    @cached_property
    def for_transformers(self) -> "PreTrainedTokenizerFast":
        """The tokenizer as transformers has it.

        Raises:
            DatasetError: the installed release makes another one of the file.
        """
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
        if kind == "pad" and (pad_id := pad_id_of(facts)) is not None:
            found = pad_id
        if found is not None:
            yield kind, found


def _with_facts(datasets: Sequence[Dataset]) -> tuple[Dataset, Facts | None]:
    """The first dataset that says what it was made of; the first where none does."""
    found = next((each for each in datasets if each.facts is not None), datasets[0])
    return found, found.facts


def _places(dataset: Dataset, facts: Facts) -> tuple[Layout, list[str]]:
    """The root that a dataset's tokenizer is looked for in, and folders besides."""
    root, _, split = (dataset.url or str(dataset.folder.absolute())).rpartition("/datasets/")
    is_of_root = bool(root) and "/" not in split
    if dataset.url and is_of_root:
        return Layout.at(root, "the root of the dataset's URL"), []
    beside = [Layout(Path(root)).tokenizer(name_of(facts.tokenizer.source))] if is_of_root else []
    return Layout.from_environment(), [str(each) for each in beside]
