"""docs/scale.md: its tables are what the arithmetic gives."""

import runpy

from codedata_tests.howto_pages import ROOT

PROJECTION = runpy.run_path(str(ROOT / "benchmarks" / "projection.py"))
Inputs, Corpus, results = (PROJECTION[name] for name in ("Inputs", "Corpus", "results"))


def test_the_page_has_the_tables_that_the_command_prints() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"\n\n{PROJECTION['tables'](Inputs())}\n" in page, (
        "put in what `python -m benchmarks.projection` prints"
    )


def test_a_hundred_gigabytes_by_hand() -> None:
    given = Inputs(chunk_mchars=10, part_mchars=5, dataset_ms=36, chunk_ms=36, corpus_ms=18)
    corpus = Corpus(name="small", files=2, text_gb=100)  # 100,000 M characters
    found = {name: value for name, _, value in results(given, corpus)}
    assert found["chunks"] == "10,000"
    assert found["core hours, dataset"] == "1.1", "3,600 CPU s, and 360 of chunks"
    assert found["core hours, corpus"] == "0.5"
    assert found["PUT"] == "40,004", "20,000 parts, 10,000 chunks, 10,000 shards, two a file"
    assert found["GET"] == "50,002", "three parts a chunk, the chunk, the shard, one a file"
