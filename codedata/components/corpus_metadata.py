"""The record of a corpus -> what the UI shows of it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from codedata.components.shown import with_separators
from codedata.printable import printable, printable_lines
from codedata.progress import rounded
from codedata.sources.record import Corpus

_PREVIEW_DOCUMENTS = 3
_PREVIEW_LINES = 12


def file_metadata(corpus: Corpus, seconds: float) -> dict[str, Any]:
    """The same of a file of very many: what tells it from the others."""
    return {
        "characters": corpus.num_chars,
        "in short": f"{corpus.num_rows:,} rows, {corpus.num_bytes:,} bytes of "
        f"{printable(corpus.path)}, in {rounded(seconds)} s",
    }


def corpus_metadata(corpus: Corpus, seconds: float) -> dict[str, Any]:
    """A corpus's record as the UI shows it, and how long it took to have it here."""
    columns = [
        dg.TableColumn(printable(name), printable(kind)) for name, kind in corpus.columns.items()
    ]
    part = corpus.part
    here = {} if part is None or not part.parts else {"bytes here": part.num_bytes}
    figures = {
        "dagster/row_count": corpus.num_rows,
        "null rows": corpus.num_null_rows,
        "characters": corpus.num_chars,
        "bytes": corpus.num_bytes,
        **here,
        "row groups": corpus.num_row_groups,
        "seconds": rounded(seconds),
        **_identity(corpus),
        "path": dg.MetadataValue.path(corpus.path),
        "origin": corpus.origin,
        **({"kept columns": ", ".join(map(printable, corpus.kept))} if corpus.kept else {}),
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "preview": dg.MetadataValue.md("\n\n".join(_preview(corpus))),
    }
    return with_separators(figures)


def _identity(corpus: Corpus) -> dict[str, str]:
    if corpus.file_sha256 is not None:
        column = {"text column": printable(corpus.text_column)}
        return {**column, "fingerprint": corpus.sha256, "sha256": corpus.file_sha256}
    return {"sha256" if corpus.is_of_file else "fingerprint": corpus.sha256}


def _preview(corpus: Corpus) -> Iterator[str]:
    for document, kept in corpus.open_text().first_with_kept(_PREVIEW_DOCUMENTS):
        about = [printable(f"// {name}: {value}"[:120]) for name, value in kept.items()]
        lines = [line[:120] for line in document.splitlines()[:_PREVIEW_LINES]]
        shown = "\n".join([*about, *map(printable_lines, lines)]).replace("~~~", "")
        yield f"~~~c\n{shown}\n~~~"
