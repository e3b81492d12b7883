"""What the assets of a split with a recipe have that others do not: columns, checks, figures."""

from typing import Any

import dagster as dg
import pyarrow as pa

from codedata.format.documents import DocumentCounts
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.progress import rounded

CHECKS = {
    "document_tokens": "All tokens of the chunks' documents are in samples, but for those that are "
    "reported as dropped.",
    "spans": "Spans cover every token that is no padding once, and their tokens are the chunks', "
    "piece by piece.",
    "fim_undone": "Of some documents of each chunk, what lies in the shards gives the document's "
    "bytes again, fill-in-the-middle undone.",
}
"""Blocking checks of a staged dataset, beside those of any split."""

BESIDE_SHARDS = (
    " Beside each, dump-N.documents.npy says where documents lie in its samples, and "
    "dump-N.documents.parquet which they are."
)

ENTRY = [
    dg.TableColumn("num_text_tokens", "int", "Of num_tokens, those that are no padding."),
    dg.TableColumn("spans_sha256", "string", "Of the bytes of dump-N.documents.npy."),
    dg.TableColumn("documents_sha256", "string", "Of the bytes of dump-N.documents.parquet."),
]

SAMPLE = dg.TableColumn(
    "document_ids", "int64[seq_length]", "Which span of the sample a token is of; -1 is padding."
)

BEGINS_IN = " A document belongs to the window in which its first character stands, whole."

_OF_DOCUMENTS = {
    "document": "Its number in the chunk.",
    "file": "The number of its file in the split.",
    "row": "Its row in the file.",
    "characters": "How many it has.",
    "sha256": "Of its text as UTF-8.",
    "repository": "That it is of, where the corpus says so.",
    "path": "Its own, where the corpus says so.",
    "licences": "Its own, where the corpus says so.",
    "decision": "Kept, empty, or dropped for its control tokens.",
}


def _named(kind: pa.DataType) -> str:
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


CHUNK = [
    dg.TableColumn("input_ids", "list of uint16 or int32", "The ids of a document, a row each."),
    dg.TableColumn("piece_tokens", "list of int32", "How many of them each of its pieces has."),
    dg.TableColumn("piece_forms", "list of int32", "Of each: 0 plain, 1 PSM, 2 SPM, 3 too long."),
    *(
        dg.TableColumn(field.name, _named(field.type), _OF_DOCUMENTS[field.name])
        for field in DOCUMENT_SCHEMA
    ),
]


def figures_of(counts: DocumentCounts, num_samples: int) -> dict[str, Any]:
    """What became of the documents of a dataset.

    Args:
        counts: of them.
        num_samples: of the dataset.
    """
    kept = counts.documents - counts.empty - counts.with_control_tokens
    pieces = max(1, counts.pieces)
    return {
        "documents": kept,
        "documents dropped for control tokens": counts.with_control_tokens,
        "empty documents": counts.empty,
        "pieces a sample": rounded(counts.pieces / max(1, num_samples)),
        "documents cut": counts.cut,
        "documents cut though short": counts.cut_though_short,
        "PSM share of pieces": rounded(counts.psm / pieces),
        "SPM share of pieces": rounded(counts.spm / pieces),
        "pieces too long for FIM": counts.fim_too_long,
        "pieces not to be permuted": counts.fim_left_plain,
        "tokens dropped": counts.tokens_dropped,
    }
