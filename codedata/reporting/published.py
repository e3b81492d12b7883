"""A split's published dataset -> what it was made of: its card, tokenizer and text, opened again.

Everything is found under one root, without dagster. The text may be gone: then what needs it is
left out of a report, and the report says why.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedata.errors import CorpusError, DatasetError, SettingsError, TokenizerError
from codedata.format.card import CARD_NAME, MAX_CARD_BYTES, card_digest, is_untouched_card
from codedata.format.card_facts import CardFacts, name_of, read_facts, without_paths
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, TOKENIZER_VARIABLE, Layout, is_name
from codedata.recipe.settings import Settings
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus
from codedata.sources.window import Window
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.tokenize.remembered import remembered_tokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles, find_tokenizer, local_fingerprint

_IDENTITY = ("sha256", "fingerprint")
"""What a card names a parquet by: whole, and where no more than its leading text was fetched."""

_SHOWN_FILES = 10
"""Numbers of files that a report names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """A published dataset and what it was made of.

    Attributes:
        name: of the split.
        dataset: opened.
        settings: the switches that made it.
        tokenizer: loaded, the very one that made it.
        tokenizer_name: as others may know it.
        corpus: where the text came from, for people.
        command: repeats the dataset.
        windows: what it took of the text of each file; empty where one of the texts is gone.
        no_windows: why; empty where they are there.
    """

    name: str
    dataset: Dataset
    settings: Settings
    tokenizer: LoadedTokenizer
    tokenizer_name: str
    corpus: str
    command: str
    windows: Sequence[Window]
    no_windows: str


def open_published(layout: Layout, name: str, *, tokenizers: Sequence[str] = ()) -> Published:
    """Open the dataset of a split and find what its card names.

    Args:
        layout: the root.
        name: of the split.
        tokenizers: folders where its tokenizer may lie.

    Raises:
        SettingsError: the name is none.
        DatasetError: there is no dataset, it is damaged, or it has no card that is its own.
        TokenizerError: the tokenizer is gone, or is another one by now.
    """
    if not is_name(name):
        raise SettingsError(f"{name!r} is no name of a split; name one, such as 'train'")
    folder = layout.dataset(name)
    if not folder.exists():
        raise DatasetError(
            f"split {name!r} has no dataset in {folder}; run `codedata materialize {name}`, or set "
            f"{ROOT_VARIABLE} to the folder that holds it"
        )
    dataset = open_dataset(folder)
    facts = _read_card(dataset)
    files = facts.origin.corpus.get("files", {"0": facts.origin.corpus})
    try:
        identities = {
            int(file): str(next(known[name] for name in _IDENTITY if name in known))
            for file, known in files.items()
        }
    except StopIteration as error:
        raise _no_card(folder, "does not say which file it was made of") from error
    shown = without_paths(facts.origin)
    tokenizer = _find_tokenizer(layout, facts, tokenizers)
    windows, no_windows = _find_windows(layout, identities, facts.settings.window)
    return Published(
        name=name,
        dataset=dataset,
        settings=facts.settings,
        tokenizer=load_tokenizer(tokenizer),
        tokenizer_name=shown.tokenizer["source"],
        corpus=_shown_corpus(shown.corpus),
        command=shown.command,
        windows=windows,
        no_windows=no_windows,
    )


def _find_tokenizer(layout: Layout, facts: CardFacts, named: Sequence[str]) -> TokenizerFiles:
    """The tokenizer that made a dataset: its commit of the hub, or wherever it lies here.

    A card names one of this machine by its name alone; it is looked for where a caller, the
    environment, the root, the last run or an older card says, and known by its fingerprint.
    """
    source, sha256 = facts.origin.tokenizer["source"], facts.origin.tokenizer["sha256"]
    if commit := facts.origin.tokenizer.get("revision"):
        found = find_tokenizer(f"{source.partition('@')[0]}@{commit}")
        if found.fingerprint == sha256:
            return found
    else:
        places = [
            *named,
            os.environ.get(TOKENIZER_VARIABLE),
            str(layout.tokenizer(name_of(source))),
            remembered_tokenizer(sha256),
            source,
        ]
        for place in filter(None, places):
            if local_fingerprint(place) == sha256:
                return find_tokenizer(place)
    name = source if commit else name_of(source)
    raise TokenizerError(
        f"tokenizer {name} that made {facts.name!r} (sha256 {sha256}) is not where it was, or is "
        "another one by now: name its folder with --tokenizer or "
        f"{TOKENIZER_VARIABLE}, or make the dataset again"
    )


def _shown_corpus(corpus: Mapping[str, Any]) -> str:
    """What a card says of a corpus, for people."""
    names = ("repo", "path", "file", "commit", "characters")
    known = [str(corpus[name]) for name in names if name in corpus]
    if "files" in corpus:
        numbers = [str(int(file)) for file in corpus["files"]]
        some = ", ".join([*numbers[:_SHOWN_FILES], *(["..."] if numbers[_SHOWN_FILES:] else [])])
        known.append(f"file {some}" if len(numbers) == 1 else f"{len(numbers)} files ({some})")
    return ", ".join(known)


def _read_card(dataset: Dataset) -> CardFacts:
    """What codedata wrote in the head of a dataset's card."""
    try:
        with open(dataset.folder / CARD_NAME, "rb") as file:
            card = file.read(MAX_CARD_BYTES)
    except FileNotFoundError as error:
        raise _no_card(dataset.folder, "is missing") from error
    if not is_untouched_card(card):
        raise _no_card(dataset.folder, "is not as it was written")
    if card_digest(card) != dataset.digest:
        raise _no_card(dataset.folder, "is the card of another dataset")
    try:
        return read_facts(card)
    except ValueError as error:
        raise _no_card(dataset.folder, str(error)) from error


def _no_card(folder: Path, why: str) -> DatasetError:
    return DatasetError(
        f"a report needs to know what {folder} was made of, but {folder / CARD_NAME} {why}; make "
        "the dataset again"
    )


def _find_windows(
    layout: Layout, identities: dict[int, str], nominal: CharRange
) -> tuple[list[Window], str]:
    """The window of a dataset in the text of each file of its corpus, or why there is none."""
    records: dict[str, Corpus] = {}
    for pattern in (f"*/{RECORD_NAME}", f"*/*/{RECORD_NAME}"):
        for record in sorted((layout.root / "corpora").glob(pattern)):
            with suppress(CorpusError):  # a damaged record is another corpus's, or is missed below
                corpus = read_corpus(record.parent)
                records.setdefault(corpus.sha256, corpus)
    windows: list[Window] = []
    for file, identity in identities.items():
        if identity not in records:
            return [], (
                f"no corpus under ${ROOT_VARIABLE}/corpora is the one that it was made of (sha256 "
                f"{identity}); materialize its corpus again"
            )
        try:
            text = records[identity].open_text()
            windows.append(Window(text=text, chars=text.clip(nominal)._replace(file=file)))
        except CorpusError as error:
            # The folder is this machine's, and a report is for others too.
            return [], str(error).replace(f"{Path(records[identity].path).parent}/", "")
    return windows, ""
