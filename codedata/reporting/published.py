"""A split's published dataset -> what it was made of: its facts, tokenizer and text, opened again.

Everything is found under one root, without dagster. The text may be gone: then what needs it is
left out of a report, and the report says why.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from codedata.errors import CorpusError, DatasetError, SettingsError
from codedata.format.documents import DocumentCounts
from codedata.format.facts import FACTS_NAME, samples_by_corpus
from codedata.format.ranges import CharRange
from codedata.format.without_paths import without_paths
from codedata.layout import ROOT_VARIABLE, Layout, is_name
from codedata.progress import SILENT, megabytes
from codedata.recipe.documents import DocumentRecipe, ResolvedRecipe
from codedata.recipe.settings import SWITCHES, Settings
from codedata.sources.parquet.text import Window
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus
from codedata.store.copies import dataset_copy, find_version, place_of
from codedata.store.dataset_folder import Dataset
from codedata.store.roots import MOST_FETCHED_BYTES
from codedata.store.state import pull_below
from codedata.store.verified import open_once
from codedata.tokenize.made_with import tokenizer_of
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer


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
        samples_by_corpus: of several corpora, how many samples are of each.
        command: repeats the dataset.
        windows: what it took of the text of each file; empty where one of the texts is gone.
        no_windows: why; empty where they are there.
        recipe: how documents became samples; None in the reference mode.
        documents: what became of them; None likewise.
    """

    name: str
    dataset: Dataset
    settings: Settings
    tokenizer: LoadedTokenizer
    tokenizer_name: str
    corpus: str
    samples_by_corpus: Mapping[str, int]
    command: str
    windows: Sequence[Window]
    no_windows: str
    recipe: ResolvedRecipe | None = None
    documents: DocumentCounts | None = None


def open_published(
    layout: Layout, name: str, *, folder: Path | None = None, tokenizers: Sequence[str] = ()
) -> Published:
    """Open the dataset of a split, or of a folder, and find what its facts name.

    Args:
        layout: the root.
        name: of the split; of a folder, what it is called.
        folder: None for the split's own.
        tokenizers: folders where its tokenizer may lie.

    Raises:
        SettingsError: the name is none.
        DatasetError: there is no dataset, it is damaged, or it does not say what it was made of.
        TokenizerError: the tokenizer is gone, or is another one by now.
    """
    pull_below(layout, layout.root / "corpora", RECORD_NAME)
    folder = _folder_of(layout, name) if folder is None else folder
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
        nominal = [_window_of(settings, number, known) for number, known in files.items()]
        counts = samples_by_corpus(facts, dataset.entries)
        recipe = None if facts.recipe is None else DocumentRecipe.of(facts.recipe)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{folder / FACTS_NAME} lacks or misstates {error}: it is of codedata "
            f"{facts.versions.get('codedata')}; take that one for a report"
        ) from error
    shown = without_paths(facts)
    tokenizer = load_tokenizer(tokenizer_of(facts, layout, tokenizers))
    windows, no_windows = _find_windows(layout, [*identities.values()], nominal)
    if recipe is not None:
        windows = [each for window in windows if (each := of_whole_documents(window)) is not None]
    return Published(
        name=name,
        dataset=dataset,
        settings=settings,
        tokenizer=tokenizer,
        tokenizer_name=shown.tokenizer.source,
        corpus=shown.shown_corpus,
        samples_by_corpus=counts,
        command=shown.command,
        windows=windows,
        no_windows=no_windows,
        recipe=None if recipe is None else with_ids(recipe, tokenizer),
        documents=facts.documents,
    )


def of_whole_documents(window: Window) -> Window | None:
    """What a split with documents takes of a text: those that begin in its window, each whole.

    None where none begins in it.
    """
    chars, text = window.chars, window.text
    starts = (batch.starts[batch.starts >= chars.start] for batch in text.documents(chars))
    first = next((int(some[0]) for some in starts if len(some)), None)
    if first is None:
        return None
    last = text.documents(chars._replace(start=chars.stop - 1))
    stop = max((int(batch.stops[-1]) for batch in last), default=chars.stop)
    return Window(text=text, chars=chars._replace(start=first, stop=max(stop, chars.stop)))


def why_too_large(layout: Layout, name: str) -> str:
    """Why the dataset of a split is not brought here from an object store; empty where it is.

    Raises:
        DatasetError: there is none.
    """
    place = place_of(layout, name)
    if isinstance(place, Path):
        return ""
    _, version = find_version(place)
    if version.num_bytes <= MOST_FETCHED_BYTES:
        return ""
    return (
        f"{name} has {megabytes(version.num_bytes)}, more than the "
        f"{megabytes(MOST_FETCHED_BYTES)} that a report brings here from an object store; "
        f"`codedata fetch {place} FOLDER`, then `codedata report FOLDER` makes one"
    )


def _folder_of(layout: Layout, name: str) -> Path:
    if not is_name(name):
        raise SettingsError(f"{name!r} is no name of a split; name one, such as 'train'")
    place = place_of(layout, name)
    if isinstance(place, str):
        if why := why_too_large(layout, name):
            raise DatasetError(why)
        return dataset_copy(place, SILENT)
    folder = place
    if not folder.exists():
        raise DatasetError(
            f"split {name!r} has no dataset in {folder}; run `codedata materialize {name}`, or set "
            f"{ROOT_VARIABLE} to the folder that holds it"
        )
    return folder


def _window_of(settings: Settings, number: int, known: Mapping[str, str]) -> CharRange:
    """What was asked for of a file; one of several corpora may have a length of its own."""
    if (chars := known.get("chars_to_tokenize")) is not None:
        parsed = SWITCHES["chars_to_tokenize"].parse(chars)
        settings = replace(settings, chars_to_tokenize=cast("int", parsed))
    return settings.window._replace(file=number)


def _find_windows(
    layout: Layout, identities: Sequence[str], nominal: Sequence[CharRange]
) -> tuple[list[Window], str]:
    """The window of a dataset in the text of each file of its corpus, or why there is none."""
    records: dict[str, Corpus] = {}
    for pattern in (f"*/{RECORD_NAME}", f"*/*/{RECORD_NAME}"):
        for record in sorted((layout.root / "corpora").glob(pattern)):
            with suppress(CorpusError):  # a damaged record is another corpus's, or is missed below
                corpus = read_corpus(record.parent)
                records.setdefault(corpus.sha256, corpus)
    windows: list[Window] = []
    for identity, chars in zip(identities, nominal, strict=True):
        if identity not in records:
            return [], (
                f"no corpus under ${ROOT_VARIABLE}/corpora is the one that it was made of (sha256 "
                f"{identity}); materialize its corpus again"
            )
        try:
            text = records[identity].open_text()
            windows.append(Window.of(text, chars))
        except CorpusError as error:
            # The folder is this machine's, and a report is for others too.
            return [], str(error).replace(f"{Path(records[identity].path).parent}/", "")
    num_chars = sum(window.chars.num_chars for window in windows)
    if layout.url is not None and num_chars > MOST_FETCHED_BYTES:
        return [], (
            f"its text has {num_chars:,} characters, more than the {MOST_FETCHED_BYTES:,} that a "
            "report reads from an object store"
        )
    return windows, ""
