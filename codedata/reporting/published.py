"""A split's published dataset -> what it was made of: its facts, tokenizer and text, opened again.

Everything is found under one root, without dagster. The text may be gone: then what needs it is
left out of a report, and the report says why.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from codedata.errors import CorpusError, DatasetError, SettingsError, TokenizerError
from codedata.format.facts import FACTS_NAME, Facts
from codedata.format.ranges import CharRange
from codedata.format.without_paths import name_of, without_paths
from codedata.layout import ROOT_VARIABLE, TOKENIZER_VARIABLE, Layout, is_name
from codedata.recipe.settings import Settings
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus
from codedata.sources.window import Window
from codedata.store.dataset_folder import Dataset
from codedata.store.verified import open_once
from codedata.tokenize.remembered import remembered_tokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles, find_tokenizer, local_fingerprint


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
    """Open the dataset of a split and find what its facts name.

    Args:
        layout: the root.
        name: of the split.
        tokenizers: folders where its tokenizer may lie.

    Raises:
        SettingsError: the name is none.
        DatasetError: there is no dataset, it is damaged, or it does not say what it was made of.
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
    dataset = open_once(folder)
    facts = dataset.checked_facts()
    if facts is None:
        raise DatasetError(
            f"{folder} does not say what it was made of, which a report needs to know: it holds no "
            f"{FACTS_NAME}; make the dataset again"
        )
    try:
        settings = Settings(**cast("dict[str, Any]", facts.switches))
        files = facts.files or {0: facts.corpus}
        # Whole files, and those of which no more than the leading text was fetched.
        identities = {n: known.get("sha256") or known["fingerprint"] for n, known in files.items()}
    except (KeyError, TypeError, SettingsError) as error:
        raise DatasetError(
            f"{folder / FACTS_NAME} lacks or misstates {error}: it is of codedata "
            f"{facts.versions.get('codedata')}; take that one for a report"
        ) from error
    shown = without_paths(facts)
    tokenizer = _find_tokenizer(layout, facts, tokenizers)
    windows, no_windows = _find_windows(layout, identities, settings.window)
    return Published(
        name=name,
        dataset=dataset,
        settings=settings,
        tokenizer=load_tokenizer(tokenizer),
        tokenizer_name=shown.tokenizer.source,
        corpus=shown.shown_corpus,
        command=shown.command,
        windows=windows,
        no_windows=no_windows,
    )


def _find_tokenizer(layout: Layout, facts: Facts, named: Sequence[str]) -> TokenizerFiles:
    """The tokenizer that made a dataset: its commit of the hub, or wherever it lies here.

    Facts name one of this machine by its name alone; it is looked for where a caller, the
    environment, the root, the last run or the card of an older codedata says, and known by its
    fingerprint.
    """
    source, sha256 = facts.tokenizer.source, facts.tokenizer.sha256
    if commit := facts.tokenizer.revision:
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
            windows.append(Window.of(text, nominal._replace(file=file)))
        except CorpusError as error:
            # The folder is this machine's, and a report is for others too.
            return [], str(error).replace(f"{Path(records[identity].path).parent}/", "")
    return windows, ""
