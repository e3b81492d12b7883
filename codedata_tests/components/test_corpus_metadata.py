"""What the UI and a dataset's facts say of a corpus whose documents are in another column."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.components.corpus_metadata import corpus_metadata
from codedata.components.split_origin import corpus_facts
from codedata.sources.columns import Columns
from codedata.sources.record import record_corpus


def test_documents_are_shown_with_what_is_kept_of_them_and_the_text_with_its_column(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.parquet"
    licences = [["mit", "~~~"], None]
    pq.write_table(
        pa.table({"code": ["int a;\n", "b"], "path": ["a\n.c", "x" * 500], "licences": licences}),
        path,
    )
    columns = Columns(text="code", keep=("path", "licences"))
    corpus = record_corpus(tmp_path / "c", path, {"kind": "local"}, columns=columns)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    metadata = corpus_metadata(corpus, 1.0)
    assert metadata["preview"].md_str == (
        "~~~c\n// path: a\\n.c\n// licences: ['mit', '']\nint a;\n~~~\n\n"
        f"~~~c\n// path: {'x' * 111}\n// licences: None\nb\n~~~"
    )
    assert metadata["kept columns"] == "path, licences"
    shown = [metadata[name] for name in ("text column", "sha256", "fingerprint")]
    assert shown == ["code", sha256, corpus.sha256]
    facts, files = corpus_facts({0: corpus}, is_one=True)
    assert files == {}
    assert facts == {
        "path": str(path), "text_column": "code", "file_sha256": sha256,
        "fingerprint": corpus.sha256,
    }  # fmt: skip


def test_a_corpus_of_content_alone_is_shown_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"content": ["int a;\n"], "size": [7]}), path)
    corpus = record_corpus(tmp_path / "c", path, {"kind": "local"})
    metadata = corpus_metadata(corpus, 1.0)
    assert metadata["preview"].md_str == "~~~c\nint a;\n~~~"
    assert metadata["sha256"] == corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {"kept columns", "text column", "fingerprint"}.isdisjoint(metadata)
    facts, _ = corpus_facts({0: corpus}, is_one=True)
    assert facts == {"path": str(path), "sha256": corpus.sha256}
