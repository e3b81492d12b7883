"""Tokenization of documents, each alone, against the same engine on their text as one chunk.

    python -m benchmarks.documents_alone --corpus PARQUET --tokenizer FOLDER [--tokenizer FOLDER ...]

Twice: the corpus's first documents, and their text cut into documents of 30 characters. CPU of one
thread; ratios are medians of alternating pairs of one run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.measuring import print_table
from codedata.format.ranges import CharRange
from codedata.format.texts import Texts
from codedata.sources.documents import choose
from codedata.sources.parquet.text import ParquetText
from codedata.tokenize.bare_ids import bare_ids
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

_SHORT_BYTES = 30


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _short(text: Texts) -> Texts:
    """The same bytes in documents of 30, or a few less so that no character is cut."""
    starts = np.flatnonzero((text.utf8 & 0xC0) != 0x80)
    places = np.searchsorted(starts, np.arange(_SHORT_BYTES, len(text.utf8), _SHORT_BYTES), "right")
    return Texts(utf8=text.utf8, ends=np.unique(np.append(starts[places - 1], len(text.utf8))))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, action="append", help="its folder")
    parser.add_argument("--chars", type=int, default=10_000_000, help="characters of documents")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    chars = CharRange(0, options.chars)
    documents = Texts.of(choose(ParquetText(options.corpus).documents(chars), chars).texts)
    short = _short(documents)
    rows: list[list[str]] = []
    for folder in options.tokenizer:
        engine = choose_engine(load_tokenizer(find_tokenizer(folder)))
        found: list[tuple[float, float]] = []
        for texts in (documents, short):
            pairs = [
                (
                    _seconds(lambda: engine.encode(documents.utf8)),
                    _seconds(lambda texts=texts: bare_ids(engine, texts)),
                )
                for _ in range(options.pairs + 1)
            ][1:]
            found.append(
                (
                    statistics.median(alone / chunk for chunk, alone in pairs),
                    statistics.median(alone - chunk for chunk, alone in pairs) / len(texts),
                )
            )
        rows.append(
            [Path(folder).name, engine.name, f"{found[0][0]:.2f}", f"{found[1][1] * 1e6:.1f}"]
        )
    print(
        f"{len(documents):,} documents of {len(documents.utf8):,} bytes, {len(short):,} short ones"
    )
    print_table(["tokenizer", "engine", "CPU, documents to chunk", "us a short document"], rows)


if __name__ == "__main__":
    main()
