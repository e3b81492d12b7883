"""Tokenization of one chunk: each engine on each kind of text, against `encode` of one string.

    python -m benchmarks.tokenization --corpus PARQUET --tokenizer FOLDER

Texts are made of the corpus's first characters: C as it is; the same with its letters Cyrillic and
Chinese in every second line; without newlines, as minified code is; tables of numbers; and mostly
blanks and empty lines. `pretokens` is measured with its table empty (cold) and filled by the same
kind of text (warm: the chunk before). Ratios are of medians over alternating rounds of one run.
"""

import argparse
import random
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import (
    Cost,
    alternate,
    copy_rate,
    measure,
    medians,
    print_table,
    save,
)
from codedata.format.ranges import CharRange
from codedata.parallel import available_cores
from codedata.sources.parquet.text import ParquetText
from codedata.tokenize.engines.base import as_utf8, reference_ids
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer

WHOLE = "encode of one string"
_CYRILLIC = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz",
    "".join(chr(0x430 + place) for place in range(26)),
)
_CHINESE = str.maketrans(
    "abcdefghijklmnopqrstuvwxyz", "".join(chr(0x4E00 + 97 * place) for place in range(26))
)


def _foreign(text: str) -> str:
    lines = text.split("\n")
    for place in range(1, len(lines), 2):
        lines[place] = lines[place].translate(_CYRILLIC if place % 4 == 1 else _CHINESE)
    return "\n".join(lines)


def _numbers(text: str) -> str:
    random_ = random.Random(0)
    entry = ", ".join(f"0x{random_.randrange(2**32):08x}" for _ in range(50_000))
    return (f"{{ {entry} }},\n" * (len(text) // len(entry) + 1))[: len(text)]


def _blank(text: str) -> str:
    return re.sub(r"[^\s;]+", "", text).ljust(len(text), "\n")[: len(text)]


TEXTS: dict[str, Callable[[str], str]] = {
    "C": lambda text: text,
    "every second line Cyrillic or Chinese": _foreign,
    "one line (minified)": lambda text: text.replace("\n", " ").replace("\r", " "),
    "numbers": _numbers,
    "blanks and empty lines": _blank,
}


def measure_text(
    loaded: LoadedTokenizer, text: str, before: str, rounds: int, whole_rounds: int
) -> dict[str, Cost]:
    """The median cost of each way to tokenize a text, every way checked against the first."""
    utf8, threads = as_utf8(text), available_cores()
    expected = reference_ids(loaded, text)
    blocks, warm = choose_engine(loaded, "blocks"), choose_engine(loaded, "pretokens")
    warm.encode(as_utf8(before), threads=threads)
    for engine in (blocks, warm, choose_engine(loaded, "pretokens")):
        assert engine.encode(utf8, threads=threads).ids.tolist() == expected, engine.name

    def cold() -> Cost:
        engine = choose_engine(loaded, "pretokens")
        return measure(lambda: engine.encode(utf8, threads=threads))

    works = {
        WHOLE: lambda: measure(lambda: loaded.tokenizer.encode(text)),
        "blocks": lambda: measure(lambda: blocks.encode(utf8, threads=threads)),
        "pretokens, cold": cold,
        "pretokens, warm": lambda: measure(lambda: warm.encode(utf8, threads=threads)),
    }
    costs = alternate(works, rounds, lambda name, turn: name == WHOLE and turn >= whole_rounds)
    return {name: medians(each) for name, each in costs.items()}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="as --tokenizer_base of the script")
    parser.add_argument("--chars", type=int, default=10_000_000, help="characters of the C chunk")
    parser.add_argument("--other-chars", type=int, default=2_000_000, help="and of the others")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--whole-rounds", type=int, default=2, help="of the slow one")
    options = parser.parse_args()
    loaded = load_tokenizer(find_tokenizer(options.tokenizer))
    corpus = ParquetText(options.corpus)
    window = corpus.clip(CharRange(0, 2 * options.chars))
    before, c_code = (corpus.read(chars) for chars in window.cut(options.chars)[:2])
    results: dict[str, dict[str, Cost]] = {}
    rows: list[list[str]] = []
    for name, make in TEXTS.items():
        chars = options.chars if name == "C" else options.other_chars
        text = make(c_code[:chars])
        print(f"{name}: {len(text):,} characters")
        costs = measure_text(
            loaded, text, make(before[:chars]), options.rounds, options.whole_rounds
        )
        results[name] = costs
        num_bytes = len(text.encode())
        for way, cost in costs.items():
            rows.append(
                [
                    name,
                    way,
                    f"{num_bytes / 1e6 / cost.wall:.2f}",
                    f"{num_bytes / 1e6 / cost.cpu:.2f}",
                    f"{costs[WHOLE].wall / cost.wall:.1f}",
                    f"{costs[WHOLE].cpu / cost.cpu:.1f}",
                ]
            )
    print_table(
        ["text", "way", "MB/s", "MB/CPU s", "times faster, wall", "times faster, CPU"], rows
    )
    print(f"a plain copy of such a chunk: {copy_rate() / 1e6:,.0f} MB/s")
    save("tokenization", vars(options), results)


if __name__ == "__main__":
    main()
