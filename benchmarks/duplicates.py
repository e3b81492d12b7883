"""Finding near duplicates of one window in another, against MinHash with LSH.

    pip install datasketch
    python -m benchmarks.duplicates --corpus PARQUET

Both sides have the same shingles in principle, runs of five pieces of the text, and the same
threshold; datasketch's are made by a regular expression, 128 permutations and its LSH index. It
estimates, so the pairs that the one finds and the other does not are counted too.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Cost, alternate, measure, medians, print_table, save
from codedata.format.ranges import CharRange
from codedata.reporting.duplicates import THRESHOLD, Window, find_duplicates
from codedata.sources.parquet.text import ParquetText

_PIECES = re.compile(r"\w+|[^\w\s]")


def shingles(document: str) -> list[bytes]:
    """Runs of five pieces."""
    pieces = _PIECES.findall(document)
    return [" ".join(pieces[i : i + 5]).encode() for i in range(max(1, len(pieces) - 4))]


def documents(window: Window) -> Iterator[tuple[int, str]]:
    """Where each document starts, and its text."""
    for batch in window.text.documents(window.chars):
        yield from zip(batch.starts.tolist(), batch.texts.to_pylist(), strict=True)


def by_minhash(reference: Window, other: Window) -> set[int]:
    """Where the documents of a window start that have a near duplicate in the reference."""
    from datasketch import MinHash, MinHashLSH  # only this benchmark needs it

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    hashed: dict[int, MinHash] = {}
    for start, document in documents(other):
        hashed[start] = MinHash(num_perm=128)
        hashed[start].update_batch(shingles(document))
        index.insert(start, hashed[start])
    found: set[int] = set()
    for place, document in documents(reference):
        passing = MinHash(num_perm=128)
        passing.update_batch(shingles(document))
        for start in index.query(passing):
            if place != start and passing.jaccard(hashed[start]) >= THRESHOLD:
                found.add(start)
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--chars", type=int, default=100_000_000)
    parser.add_argument("--other-chars", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    text = ParquetText(options.corpus)
    end = options.chars + options.other_chars
    reference, other = (
        Window(text=text, chars=text.clip(chars))
        for chars in (CharRange(0, options.chars), CharRange(options.chars, end))
    )
    results: dict[str, set[int]] = {}

    def ours() -> Cost:
        return measure(lambda: results.update(ours=_starts(reference, other)))

    def theirs() -> Cost:
        return measure(lambda: results.update(theirs=by_minhash(reference, other)))

    _starts(other, other)  # compiles
    works = {"prefix filtering": ours, "MinHash (datasketch)": theirs}
    skip_most = lambda name, turn: name != "prefix filtering" and turn % 3 > 0  # noqa: E731
    costs = alternate(works, options.rounds, skip_most)
    middle = {name: medians(each) for name, each in costs.items()}
    rows = [[name, f"{cost.wall:.1f}", f"{cost.cpu:.1f}"] for name, cost in middle.items()]
    print_table(["way", "s", "CPU s"], rows)
    missed, invented = results["ours"] - results["theirs"], results["theirs"] - results["ours"]
    print(f"{len(results['ours'])} documents; MinHash misses {len(missed)}, adds {len(invented)}")
    save("duplicates", vars(options), costs)


def _starts(reference: Window, other: Window) -> set[int]:
    return {twin.chars.start for twin in find_duplicates([reference], [other]).twins}


if __name__ == "__main__":
    sys.exit(main())
