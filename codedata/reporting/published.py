"""A split's published dataset -> what it was made of: its card, tokenizer and text, opened again.

Everything is found under one root, without dagster. The text may be gone: then what needs it is
left out of a report, and the report says why.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from codedata.core.card import CARD_NAME, MAX_CARD_BYTES
from codedata.core.settings import CharRange, Settings
from codedata.errors import CorpusError, DatasetError, SettingsError, TokenizerError
from codedata.io.corpus import RECORD_NAME, read_corpus
from codedata.io.dataset_folder import Dataset, open_dataset
from codedata.layout import ROOT_VARIABLE, Layout, is_name
from codedata.reporting.duplicates import Window
from codedata.tokenization.loading import LoadedTokenizer, find_tokenizer, load_tokenizer

_IDENTITY = ("sha256", "fingerprint")
"""What a card names a parquet by: whole, and where no more than its leading text was fetched."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """A published dataset and what it was made of.

    Attributes:
        name: of the split.
        dataset: opened.
        settings: the switches that made it.
        tokenizer: loaded, the very one that made it.
        corpus: where the text came from, for people.
        command: repeats the dataset.
        windows: what it took of the text of each file; empty where one of the texts is gone.
        no_windows: why; empty where they are there.
    """

    name: str
    dataset: Dataset
    settings: Settings
    tokenizer: LoadedTokenizer
    corpus: str
    command: str
    windows: Sequence[Window]
    no_windows: str


def open_published(layout: Layout, name: str) -> Published:
    """Open the dataset of a split and find what its card names.

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
    try:
        settings = Settings(**facts["switches"])
        source, sha256 = str(facts["tokenizer"]["source"]), facts["tokenizer"]["sha256"]
        command, corpus = str(facts["command"]), facts["corpus"]
        files = {int(file): fields for file, fields in corpus.get("files", {"0": corpus}).items()}
        identities = {
            file: str(next(fields[name] for name in _IDENTITY if name in fields))
            for file, fields in files.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise _no_card(folder, f"lacks or misstates {error}") from error
    tokenizer = find_tokenizer(source, pins=layout.tokenizer_pins)
    if tokenizer.fingerprint != sha256:
        raise TokenizerError(
            f"tokenizer {source} is no longer the one that made {folder}; run `codedata "
            f"materialize {name}` to make the dataset with it"
        )
    windows, no_windows = _find_windows(layout, identities, settings.window)
    return Published(
        name=name,
        dataset=dataset,
        settings=settings,
        tokenizer=load_tokenizer(tokenizer),
        corpus=_shown_corpus(corpus),
        command=command,
        windows=windows,
        no_windows=no_windows,
    )


def _shown_corpus(corpus: dict[str, Any]) -> str:
    """What a card says of a corpus, for people."""
    known = [
        str(corpus[name]) for name in ("repo", "path", "commit", "characters") if name in corpus
    ]
    if "files" in corpus:
        known.append(f"{len(corpus['files'])} files")
    return ", ".join(known)


def _read_card(dataset: Dataset) -> dict[str, Any]:
    """What codedata wrote in the head of a dataset's card."""
    try:
        with open(dataset.folder / CARD_NAME, "rb") as file:
            card = file.read(MAX_CARD_BYTES)
    except FileNotFoundError as error:
        raise _no_card(dataset.folder, "is missing") from error
    try:
        _, head, _ = card.decode().split("---\n", 2)
        facts: object = yaml.safe_load(head)["codedata"]
    except (ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError) as error:
        raise _no_card(dataset.folder, "has no head that says so") from error
    if not isinstance(facts, dict):
        raise _no_card(dataset.folder, "has no head that says so")
    found = cast("dict[str, Any]", facts)
    if found.get("digest") != dataset.digest:
        raise _no_card(dataset.folder, "is the card of another dataset")
    return found


def _no_card(folder: Path, why: str) -> DatasetError:
    return DatasetError(
        f"a report needs to know what {folder} was made of, but {folder / CARD_NAME} {why}; make "
        "the dataset again"
    )


def _find_windows(
    layout: Layout, identities: dict[int, str], nominal: CharRange
) -> tuple[list[Window], str]:
    """The window of a dataset in the text of each file of its corpus, or why there is none."""
    records: dict[str, Path] = {}
    for pattern in (f"*/{RECORD_NAME}", f"*/*/{RECORD_NAME}"):
        for record in sorted((layout.root / "corpora").glob(pattern)):
            with suppress(CorpusError):  # a damaged record is another corpus's, or is missed below
                records.setdefault(read_corpus(record.parent).sha256, record.parent)
    windows: list[Window] = []
    for file, identity in identities.items():
        if identity not in records:
            return [], (
                f"no corpus under {layout.root / 'corpora'} is the one that it was made of (sha256 "
                f"{identity}); materialize its corpus again"
            )
        try:
            text = read_corpus(records[identity]).open_text()
            windows.append(Window(text=text, chars=text.clip(nominal)._replace(file=file)))
        except CorpusError as error:
            return [], str(error)
    return windows, ""
