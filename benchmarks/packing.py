"""Packing of documents: what concat and best fit cut and pad, and what best fit costs a piece.

    python -m benchmarks.packing --corpus PARQUET --tokenizer FOLDER --eos NAME

The corpus's documents are tokenized once, chunk by chunk as a run does it, a token after each, and
packed into samples of several lengths. Then a million pieces of at most that length are fitted:
lengths as the corpus has them, and such as are hard on data structures.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import measure, print_table, save
from codedata.format.document_packing import best_fit, pack_documents
from codedata.format.documents import ChunkDocuments, DocumentCounts
from codedata.format.ranges import CharRange
from codedata.recipe.documents import DocumentRecipe
from codedata.sources.documents import choose
from codedata.sources.parquet.text import ParquetText
from codedata.tokenize.documents import tokenize_documents
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.recipe_tokens import with_ids
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

SEQ_LENGTHS = (1536, 2048, 4096, 8192)
TIMED_SEQ_LENGTHS = (1536, 2048, 8192, 32_768, 2**24)


def chunks_of(
    corpus: Path, tokenizer: str, eos: str, num_chars: int, chunk_size: int
) -> Iterator[ChunkDocuments]:
    """The documents of each chunk."""
    loaded = load_tokenizer(find_tokenizer(tokenizer))
    engine = choose_engine(loaded)
    recipe = with_ids(DocumentRecipe.of({"documents": {"eos": eos}, "packing": "concat"}), loaded)
    text = ParquetText(corpus)
    for chars in text.clip(CharRange(0, num_chars)).cut(chunk_size):
        documents, _ = tokenize_documents(
            loaded,
            engine,
            recipe,
            choose(text.documents(chars, to_end=True), chars),
            seq_length=SEQ_LENGTHS[0],
            threads=1,
            where=f"chunk {chars.key}",
        )
        yield documents


def counts_of(chunks: list[ChunkDocuments], packing: str, seq_length: int) -> DocumentCounts:
    """What becomes of the documents of all chunks."""
    packed = (
        pack_documents(
            documents,
            packing=packing,
            order=None,
            seq_length=seq_length,
            min_sample_length=0,
            pad_token=0,
        )
        for documents in chunks
    )
    return sum((each.counts for each in packed), DocumentCounts())


def lengths_to_fit(
    of_documents: NDArray[np.int64], seq_length: int, num_pieces: int
) -> dict[str, NDArray[np.int64]]:
    """Lengths of pieces, by what they are like."""
    random = np.random.default_rng(0)
    full, rests = np.divmod(of_documents, seq_length)
    pieces = np.concatenate([np.full(int(full.sum()), seq_length), rests[rests > 0]])
    distinct = min(num_pieces, seq_length)
    large = random.integers(seq_length // 2 + 1, seq_length + 1, num_pieces // 2)
    small = random.integers(1, seq_length // 2 + 1, num_pieces - num_pieces // 2)
    return {
        "as the corpus": random.choice(pieces, num_pieces),
        "uniform": random.integers(1, seq_length + 1, num_pieces),
        "all distinct": random.permutation(distinct) + 1,
        "all half and one": np.full(num_pieces, seq_length // 2 + 1),
        "all a third": np.full(num_pieces, max(1, seq_length // 3)),
        "large, then small": np.concatenate([large, small]),
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--eos", required=True, help="name of the token after each document")
    parser.add_argument("--chars", type=int, default=10**12, help="the corpus's first, at most")
    parser.add_argument("--chunk-size", type=int, default=10_000_000)
    parser.add_argument("--pieces", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chunks = [
        *chunks_of(
            options.corpus, options.tokenizer, options.eos, options.chars, options.chunk_size
        )
    ]
    lengths = np.concatenate(
        [np.bincount(each.pieces[:, 0], weights=each.pieces[:, 1]) for each in chunks]
    ).astype(np.int64)
    lengths = lengths[lengths > 0]
    results: dict[str, dict[str, float]] = {}
    for seq_length in SEQ_LENGTHS:
        concat, fitted = (
            counts_of(chunks, packing, seq_length) for packing in ("concat", "best_fit")
        )
        share = 100 / len(lengths)
        results[f"{seq_length}"] = {
            "padding %": 100 * fitted.padding / (fitted.padding + fitted.tokens_packed),
            "longer than a sample %": share * int((lengths > seq_length).sum()),
            "cut by concat %": share * concat.cut,
            "though short %": share * concat.cut_though_short,
            "cut by best fit %": share * fitted.cut,
            "though short, best fit": fitted.cut_though_short,
        }
    print(f"{len(chunks)} chunks, {len(lengths):,} documents, {lengths.sum():,} tokens,", end=" ")
    print(f"a document {lengths.mean():,.0f}, half of them at most {median(lengths):,.0f}")
    columns = [*next(iter(results.values()))]
    print_table(
        ["seq_length", *columns],
        [[name, *(f"{row[each]:.3g}" for each in columns)] for name, row in results.items()],
    )
    timed: dict[str, dict[str, float]] = {}
    for seq_length in TIMED_SEQ_LENGTHS:
        for name, pieces in lengths_to_fit(lengths, seq_length, options.pieces).items():
            costs = [
                measure(lambda pieces=pieces, seq_length=seq_length: best_fit(pieces, seq_length))
                for _ in range(options.rounds)
            ]
            microseconds = 1e6 * median(cost.cpu for cost in costs) / len(pieces)
            timed.setdefault(f"{seq_length}", {})[name] = microseconds
    columns = [*next(iter(timed.values()))]
    print_table(
        ["µs a piece", *columns],
        [[name, *(f"{row[each]:.2f}" for each in columns)] for name, row in timed.items()],
    )
    save("packing", vars(options), {"documents": results, "microseconds a piece": timed})


if __name__ == "__main__":
    main()
