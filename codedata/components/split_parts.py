"""What a split takes of each of its corpora: which files, and which characters of each.

A file's number in a split is its corpus's place among the split's times `MAX_FILES`, plus its own
number in that corpus. So over one corpus both are the same, and over several no file is numbered
anew, nor a chunk of it made again, because another corpus has more files than before.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codedata.components.split_partitions import Partitions
from codedata.errors import CorpusError, SettingsError
from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.parallel import side_by_side
from codedata.recipe.settings import ALL
from codedata.sources.parquet.text import Window
from codedata.sources.paths import MAX_FILES
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus
from codedata.sources.stored_text import text_of
from codedata.store import state

MAX_CHUNKS = 10_000
"""Partitions of an asset: the UI stays quick, and a chunk_size of 1 is found out at once."""


_FEW_RECORDS = 100
"""So many are asked for one by one; of more, a listing says which changed, a thousand a request."""


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """What a split takes of one corpus.

    Attributes:
        corpus: its name.
        window: the characters of each file.
        files: which, by their numbers in the corpus.
        corpus_files: how many it has.
        place: of the corpus among those of the split.
    """

    corpus: str
    window: CharRange
    files: tuple[int, ...] = (0,)
    corpus_files: int = 1
    place: int = 0

    @property
    def numbers(self) -> tuple[int, ...]:
        """The files, by their numbers in the split."""
        return tuple(self.place * MAX_FILES + file for file in self.files)

    @property
    def windows(self) -> list[CharRange]:
        """The characters of each file, by its number in the split."""
        return [self.window._replace(file=number) for number in self.numbers]

    @property
    def alone(self) -> "SplitPart":
        """The same of a split over this corpus alone, so that numbers are the corpus's own."""
        return replace(self, place=0)

    @property
    def chars(self) -> str:
        """How many characters of each file, as a YAML says it."""
        return ALL if self.window.is_open else str(self.window.num_chars)

    def folder(self, layout: Layout, number: int) -> Path:
        """Where the record of a file lies, by its number in the split."""
        return corpus_folder(layout, self.corpus, self.corpus_files, number % MAX_FILES)

    def named(self, number: int) -> str:
        """A file for people, by its number in the split."""
        return f"file {number % MAX_FILES} of corpus {self.corpus!r}"


def pull_records(
    layout: Layout, parts: Sequence[SplitPart], files: Collection[int] | None = None
) -> None:
    """Have the records of a split's files here, as the store of the root has them.

    Args:
        layout: the root.
        parts: of the split.
        files: those that are needed, by their numbers in the split; None is all.

    Raises:
        StoreError: the store does not give them.
    """
    for part in parts:
        needed = [number for number in part.numbers if files is None or number in files]
        pull_files(layout, part.corpus, [part.folder(layout, number) for number in needed])


def pull_files(layout: Layout, corpus: str, folders: Sequence[Path]) -> None:
    """The same of files of a corpus, by the folders of their records."""
    records = [folder / RECORD_NAME for folder in folders]
    if len(records) > _FEW_RECORDS:
        state.pull_below(layout, layout.corpus(corpus), RECORD_NAME)
        records = [] if layout.url is None else [each for each in records if not each.exists()]
    state.pull(layout, *records)  # of many, those that a listing which lags behind does not have


def corpus_folder(layout: Layout, corpus: str, corpus_files: int, file: int) -> Path:
    """Where the record of a file of a corpus lies, by its number in that."""
    return layout.corpus(corpus, file if corpus_files > 1 else None)


def windows_by_corpus(
    part: SplitPart, others: Mapping[str, Sequence[SplitPart]]
) -> dict[str, list[CharRange]]:
    """What other splits take of a part's corpus, by their names; the files numbered as in that."""
    found: dict[str, list[CharRange]] = {}
    for name, parts in others.items():
        if same := [each for each in parts if each.corpus == part.corpus]:
            found[name] = [window for each in same for window in each.alone.windows]
    return found


def require_few_chunks(
    split: str, parts: Sequence[SplitPart], chunk_size: int, partitions: Partitions
) -> None:
    """Refuse a split of more partitions, or chunks of a file, than `MAX_CHUNKS`.

    Args:
        split: its name.
        parts: what it takes.
        chunk_size: characters of a chunk.
        partitions: what a partition is.

    Raises:
        SettingsError: it has more.
    """
    num_chunks = 0
    for part in parts:
        if part.window.is_open:
            continue
        at_once = len(part.files) if partitions == "chunk" else 1
        before = num_chunks if partitions == "chunk" else 0
        num_chunks = before + at_once * -(-part.window.num_chars // chunk_size)
        if num_chunks > MAX_CHUNKS:
            of_files = f" of {at_once} files" if at_once > 1 else ""
            and_before = " and those of the corpora before" if before else ""
            what = "partitions" if partitions == "chunk" else "chunks of a file"
            raise SettingsError(
                f"split {split!r}: chars_to_tokenize {part.chars}{of_files}{and_before} in chunks "
                f"of {chunk_size} are more than {MAX_CHUNKS} {what}; choose a larger chunk_size"
            )


def open_windows(layout: Layout, parts: Sequence[SplitPart]) -> list[Window]:
    """What a split takes of the texts of its corpora.

    Raises:
        CorpusError: a file is not materialized, or its text ends before the window.
    """

    def open_window(of: tuple[SplitPart, CharRange]) -> Window:
        part, chars = of
        folder = part.folder(layout, chars.file)
        return Window.of(text_of(folder, read_corpus(folder)), chars)

    pull_records(layout, parts)
    return side_by_side(open_window, [(part, each) for part in parts for each in part.windows])


def require_consistent(parts: Sequence[SplitPart], records: Mapping[int, Corpus]) -> None:
    """Refuse files of a split that are one text, or of one corpus and of two of its commits.

    Where the list of a corpus shifted since some of its files were recorded, one may stand under
    two numbers; where only some were brought up to date, or two machines began at once, files of
    two commits stand side by side.

    Args:
        parts: of the split.
        records: of its files, by number in the split.

    Raises:
        CorpusError: naming both, and what is to be done.
    """
    seen: dict[tuple[object, ...], int] = {}
    commits: dict[tuple[object, ...], tuple[int, str]] = {}
    for number, record in records.items():
        origin, place = record.origin, number // MAX_FILES
        if (commit := origin.get("commit")) is not None:
            before, its = commits.setdefault((place, origin.get("repo")), (number, commit))
            if commit != its:
                part = parts[place]
                raise CorpusError(
                    f"{part.named(before)} is of commit {its}, but {part.named(number)} of "
                    f"{commit}; materialize {part.corpus}/raw_parquet, all its files, again, as "
                    "`codedata materialize --update` does"
                )
        text = (origin.get("repo"), origin.get("path", record.path), record.sha256)
        first = seen.setdefault(text, number)
        if first == number:
            continue
        one, other = (parts[each // MAX_FILES] for each in (first, number))
        remedy = (
            f"the list of its files changed since one was recorded: materialize {one.corpus}/"
            "raw_parquet, all its files, again"
            if one is other
            else "take it out of one of the two corpora"
        )
        raise CorpusError(
            f"{one.named(first)} and {other.named(number)} are the same text, {text[1]}; {remedy}"
        )
