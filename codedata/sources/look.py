"""A word that a user has for a corpus -> the source that it probably means, and a look at it.

Nothing is kept, and of each file no more is read than shows what it is: one is described, the
others are counted.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from codedata.errors import CorpusError
from codedata.layout import is_repo
from codedata.places import local_path
from codedata.progress import SILENT, Reporter
from codedata.sources.base import Source
from codedata.sources.columns import COLUMN, every_column, find_text, kept_columns, listed
from codedata.sources.commits import Commits
from codedata.sources.formats.registry import format_of, is_random_access, is_readable
from codedata.sources.formats.rows import BadRows
from codedata.sources.kinds.local import LocalSource
from codedata.sources.kinds.url import UrlSource
from codedata.sources.languages import CODE_EXTENSIONS, LANGUAGES, ending_of
from codedata.sources.parquet.decode import count_chars
from codedata.sources.paths import is_pattern
from codedata.sources.registry import read_source
from codedata.sources.tabular import TabularSource

USUAL_NAMES = (COLUMN, "text", "code", "source", "body", "document", "func_code_string")
"""Of columns with documents, as datasets call them."""

_SHARE = 10
"""A language that at least every tenth file of code is of is taken."""

_READ_CHARS = 4_000_000
"""Of a file, to count its documents by."""

_PARQUET_MAGIC = b"PAR1"
"""By which a parquet of any other ending is known."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is seen of a corpus.

    Attributes:
        attributes: of the source, as a YAML has them.
        num_files: its files; of source code, a document each.
        num_bytes: of all of them; None where their sizes are not known.
        first_file: the name of the one that the rest is about.
        columns: its columns, type by name.
        text_column: the one with the documents.
        num_documents: that were read of it.
        num_chars: characters of those.
        is_whole: whether those are all of the file's.
        skipped: rows that are bad, by reason.
        documents: the first ones, each with what is kept of it.
    """

    attributes: dict[str, Any]
    num_files: int
    num_bytes: int | None
    first_file: str
    columns: dict[str, str]
    text_column: str
    num_documents: int
    num_chars: int
    is_whole: bool
    skipped: dict[str, int]
    documents: list[tuple[str, dict[str, Any]]]


def source_of(word: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The attributes of the source that a word probably means.

    Args:
        word: a path, a pattern, a folder, a git repository, a URL, or `owner/name` of the hub.
        fields: that the user named.

    Raises:
        CorpusError: there is nothing of that name.
    """
    if "://" in word:
        return {"kind": "url", "path": word, **fields}
    place = local_path(word, "the corpus", error=CorpusError)
    if place.is_file() and not is_readable(place.name):
        with open(place, "rb") as opened:
            if opened.read(len(_PARQUET_MAGIC)) != _PARQUET_MAGIC:
                format_of(place.name)  # which refuses it
    if is_pattern(word) or place.is_file():
        return {"kind": "local", "path": word, **fields}
    if place.is_dir():
        is_bare = (place / "HEAD").is_file() and (place / "objects").is_dir()
        if is_bare or (place / ".git").exists():
            commits = Commits(place)
            tree = commits.tree(commits.resolve(fields.get("revision", "HEAD")))
            names = [entry.path for entry in tree.files]
            return {"kind": "git", "path": word, **_languages(names), **fields}
        names = [str(path) for path in place.rglob("*")]
        data, num_code = LocalSource(path=word).paths, len([*filter(_language, names)])
        if data and len(data) >= num_code:
            return {"kind": "local", "path": word, **fields}
        if not num_code:
            raise CorpusError(
                f"{word} holds neither files of documents, such as .parquet and .jsonl.gz, nor "
                "source code; name another folder"
            )
        folders = {place.resolve().name: word}
        return {"kind": "folders", "folders": folders, **_languages(names), **fields}
    if is_repo(word):
        return {"kind": "hub", "repo": word, **fields}
    raise CorpusError(
        f"there is no file or folder {word}; name one, a pattern in quotes, a URL such as "
        "s3://bucket/c.parquet, or a dataset of the hub, owner/name"
    )


def _language(name: str) -> str | None:
    """The programming language of a file, by its ending."""
    ending = ending_of(name)
    return LANGUAGES[ending] if ending in CODE_EXTENSIONS else None


def _languages(names: Iterable[str]) -> dict[str, list[str]]:
    """The field that takes the languages of most files; none where those are the usual ones."""
    counts = Counter(filter(None, map(_language, names)))
    most = [name for name, count in counts.most_common() if count * _SHARE >= counts.total()]
    return {"languages": most} if most and most != ["C"] else {}


def look_at(attributes: dict[str, Any], num_documents: int, reporter: Reporter) -> Look:
    """Look at the beginning of a corpus.

    Args:
        attributes: of its source.
        num_documents: to show.
        reporter: told what is waited for.

    Raises:
        CorpusError: it cannot be had, or is no usable corpus.
    """
    source = read_source(attributes, "what you named")
    with TemporaryDirectory(prefix="codedata-look-") as folder:
        if isinstance(source, TabularSource):
            return _look_at_files(
                source.refreshed(Path(folder), SILENT), attributes, num_documents, Path(folder)
            )
        return _look_at_written(source, attributes, num_documents, Path(folder), reporter)


def _look_at_files(
    source: TabularSource, attributes: dict[str, Any], num_documents: int, folder: Path
) -> Look:
    sizes = [source.num_bytes(file, folder) for file in range(source.num_files)]
    with source.opened(0) as (name, opened):
        form = format_of("it.parquet" if is_random_access(name) else name)
        schema = form.schema(opened, name)
    text_column = source.text_column
    if "text_column" not in attributes:
        text_column = _usual_text(schema, name)
    if text_column != COLUMN:
        attributes = {**attributes, "text_column": text_column}
        source = source.model_copy(update={"text_column": text_column})
    find_text(schema, text_column, name)
    kept = [each for each in kept_columns(schema, source.columns, name) if each != source.id_column]
    if isinstance(source, UrlSource) and is_random_access(name) and kept:
        # Of what is fetched by row groups, nothing is kept but what is named.
        attributes = {**attributes, "keep_columns": kept}
    bad = BadRows(on_error="skip")
    counts, documents, is_whole = [0, 0], list[tuple[str, dict[str, Any]]](), True
    with source.opened(0) as (name, opened):
        for batch in form.read(opened, name, source.columns, bad):
            num_chars = count_chars(batch.column(0))
            counts[0] += int((num_chars >= 0).sum())
            counts[1] += int(num_chars[num_chars >= 0].sum())
            rows = (row for row in batch.to_pylist() if row[COLUMN] is not None)
            for row in islice(rows, num_documents - len(documents)):
                documents.append((row.pop(COLUMN), row))
            if counts[1] > _READ_CHARS:
                is_whole = False
                break
    return Look(
        attributes=attributes,
        num_files=source.num_files,
        num_bytes=None if None in sizes else sum(size or 0 for size in sizes),
        first_file=name,
        columns={field.name: str(field.type) for field in schema},
        text_column=text_column,
        num_documents=counts[0],
        num_chars=counts[1],
        is_whole=is_whole,
        skipped=dict(bad.counts),
        documents=documents,
    )


def _usual_text(schema: pa.Schema, name: str) -> str:
    """The column of the documents, by its name.

    Raises:
        CorpusError: none has a usual one.
    """
    texts = [each for each in every_column(schema) if _is_text(schema, each, name)]
    usual = next((each for each in USUAL_NAMES if each in texts), None)
    if usual is not None:
        return usual
    which = f"of its columns these are text: {listed(texts)}; say which (text_column)"
    if not texts:
        types = listed(f"{field.name} ({field.type})" for field in schema)
        which = f"none of its columns is text: {types}; name other files"
    raise CorpusError(
        f"{name} has no text in a column of a usual name ({', '.join(USUAL_NAMES)}); {which}"
    )


def _is_text(schema: pa.Schema, column: str, name: str) -> bool:
    try:
        find_text(schema, column, name)
    except CorpusError:
        return False
    return True


def _look_at_written(
    source: Source,
    attributes: dict[str, Any],
    num_documents: int,
    folder: Path,
    reporter: Reporter,
) -> Look:
    """Of what has to be written first: it is, for a moment."""
    corpus = source.materialize(0, folder, reporter, update=False)
    skipped = corpus.origin.get("skipped", {})
    documents = corpus.open_text().first_with_kept(max(1, num_documents))
    return Look(
        attributes=attributes,
        num_files=corpus.num_rows,
        num_bytes=None,
        first_file=next((row["max_stars_repo_path"] for _, row in documents), ""),
        columns=corpus.columns,
        text_column=corpus.text_column,
        num_documents=corpus.num_rows - corpus.num_null_rows,
        num_chars=corpus.num_chars,
        is_whole=True,
        skipped={why: number for why, number in skipped.items() if number},
        documents=documents[:num_documents],
    )
