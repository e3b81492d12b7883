"""What became of the documents of a dataset -> figures with their names, for people. Pure."""

from codedata.format.documents import DocumentCounts
from codedata.printable import percent


def document_figures(counts: DocumentCounts) -> list[tuple[str, str]]:
    """What a run counted, as names and figures: documents, tokens, cuts, fill-in-the-middle."""
    left_out = {"empty": counts.empty, "with control tokens": counts.with_control_tokens}
    some = [f"{number:,} {what}" for what, number in left_out.items() if number]
    kept = counts.documents - sum(left_out.values())
    rows = [
        ("documents", f"{kept:,} of {counts.documents:,}" if some else f"{kept:,}"),
        *([("documents left out", ", ".join(some))] if some else []),
        ("tokens of documents", f"{counts.tokens:,}"),
        ("tokens dropped at the ends of chunks", _of(counts.tokens_dropped, counts.tokens)),
        ("documents cut over samples", _of(counts.cut, kept)),
        ("cut though a sample could hold them", f"{counts.cut_though_short:,}"),
    ]
    if counts.psm or counts.spm or counts.fim_too_long or counts.fim_left_plain:
        rows += [
            ("pieces of documents", f"{counts.pieces:,}"),
            ("pieces asked prefix first", _of(counts.psm, counts.pieces)),
            ("pieces asked suffix first", _of(counts.spm, counts.pieces)),
            ("pieces drawn, but too long permuted", _of(counts.fim_too_long, counts.pieces)),
            ("pieces drawn, but not to be permuted", _of(counts.fim_left_plain, counts.pieces)),
        ]
    return rows


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole)})" if part else "0"
