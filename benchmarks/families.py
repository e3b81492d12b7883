"""Real tokenizers of fifteen families: codedata against the library and against gigatoken alone.

    python -m benchmarks.families --corpus PARQUET --tokenizers FOLDER --texts FOLDER

By the rules of huggingface/tokbench: ids are verified, or a cell does not count; all do the same
work, on a text in memory, from its characters to an array of ids (the library: to its `Encoding`);
loading is apart; all are warm, and what is timed they have not seen: a text is cut into disjoint
chunks of equal length, the first one warms, and each round has the next. codedata may use
`--threads`, framing included; `Tokenizer.encode` and gigatoken (its best call) have one. The
library tokenizes the first timed chunk whole: that is its time, and what the ids are compared with.
FOLDERs are made by `benchmarks.tokenizer_files` and `benchmarks.help_texts`; of a text that is
short the chunks are.

    python -m benchmarks.families ... --end-to-end o200k codellama

The script, each run a new process with an empty cache, against `encode` of the same characters: of
the first chunk, with which the dataset's first samples are compared, times the number of chunks.
"""

import argparse
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gigatoken
import numpy as np
from gigatoken.gigatoken_rs import PadTruncate, SentencePieceTokenizer
from tokenizers import Tokenizer

from benchmarks.end_to_end import write_leading_text
from benchmarks.help_texts import CJK, LATIN
from benchmarks.measuring import (
    Cost,
    alternate,
    measure,
    medians,
    print_table,
    run,
    save,
    script_command,
)
from benchmarks.tokenizer_files import FAMILIES
from codedata.format.ranges import CharRange
from codedata.parallel import available_cores, limit_library_threads
from codedata.recipe.settings import Settings
from codedata.sources.parquet.text import ParquetText
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.engines.base import Engine, as_utf8, missing_frame
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer
from codedata.tokenize.tokenizer_files import TOKENIZER_JSON, find_tokenizer

LIBRARY, OURS, GIGATOKEN = "encode", "codedata", "gigatoken"
_WARM_LIBRARY_CHARS = 100_000
"""Its cache, of 10,000 words, is full by then."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A tokenizer, loaded by all three.

    Attributes:
        name: of its folder.
        loaded: by codedata, with the library's.
        engine: that codedata takes.
        gigatoken: text to ids, without framing; None where it refuses the tokenizer.
        loading: what each took to be ready for a text.
    """

    name: str
    loaded: LoadedTokenizer
    engine: Engine
    gigatoken: Callable[[bytes], Any] | None
    loading: dict[str, Cost]


def load(folder: Path) -> Family:
    """Load a tokenizer three times over."""
    made: list[Any] = []
    running = set(threading.enumerate())

    def ours() -> None:
        loaded = load_tokenizer(find_tokenizer(str(folder)))
        engine = choose_engine(loaded)
        engine.encode(as_utf8("int main;"))  # what it makes at first use
        for thread in set(threading.enumerate()) - running:
            if thread.daemon:  # what it finds out beside the first chunks
                thread.join()
        made.extend([loaded, engine])

    json = folder / TOKENIZER_JSON
    loading = {
        LIBRARY: measure(lambda: Tokenizer.from_file(str(json))),
        OURS: measure(ours),
        GIGATOKEN: measure(lambda: made.append(load_gigatoken(json))),
    }
    loaded, engine, alone = made
    return Family(name=folder.name, loaded=loaded, engine=engine, gigatoken=alone, loading=loading)


def load_gigatoken(json: Path) -> Callable[[bytes], Any] | None:
    """Its fastest call for one text; None where it refuses the tokenizer."""
    try:
        tokenizer = gigatoken.Tokenizer.from_json(json.read_bytes())
    except (ValueError, RuntimeError, NotImplementedError) as error:
        print(f"  gigatoken: {error}")
        return None
    backend = tokenizer.backend
    if isinstance(backend, SentencePieceTokenizer):
        return backend.encode
    return lambda text: backend.encode_batch_padded([text], PadTruncate(0), parallel=False)[0][0]


def encode_whole(loaded: LoadedTokenizer, text: str) -> tuple[Cost, list[int]]:
    """What one `encode` of a text takes, and the text's ids, framed as a chunk's."""
    made: list[Any] = []
    cost = measure(lambda: made.append(loaded.tokenizer.encode(text)))
    [encoding] = made
    first, last = missing_frame(loaded, encoding.ids)
    return cost, first + encoding.ids + last


def holds(framed: Any, bare: Any) -> bool:
    """Whether ids are others with a frame of special tokens around them."""
    return any(
        np.array_equal(framed[start : start + len(bare)], bare)
        for start in range(len(framed) - len(bare) + 1)
    )


def measure_text(
    family: Family, chunks: Sequence[str], threads: int
) -> tuple[dict[str, Cost], dict[str, bool]]:
    """What a family takes for a megabyte of a text, and whose ids are the library's.

    Args:
        family: all of whose ways are tried.
        chunks: of the text, disjoint; the first one warms.
        threads: codedata's.
    """
    texts = [as_utf8(chunk) for chunk in chunks]
    alone = family.gigatoken
    found: dict[str, list[Any]] = {OURS: [], GIGATOKEN: []}
    expected: list[list[int]] = []
    library = iter(chunks[1:])

    def encode() -> Cost:
        cost, ids = encode_whole(family.loaded, next(library))
        expected.append(ids)
        return cost

    def timed(
        name: str, tokenize: Callable[[Any], Any], inputs: Sequence[Any]
    ) -> Callable[[], Cost]:
        rest = iter(inputs[1:])
        tokenize(inputs[0])
        return lambda: measure(lambda: found[name].append(tokenize(next(rest))))

    family.loaded.tokenizer.encode(chunks[0][:_WARM_LIBRARY_CHARS])
    works = {
        LIBRARY: encode,
        OURS: timed(OURS, lambda text: family.engine.encode(text, threads=threads).ids, texts),
    }
    if alone is not None:
        works[GIGATOKEN] = timed(GIGATOKEN, alone, [text.tobytes() for text in texts])
    costs = alternate(works, len(chunks) - 1, lambda name, turn: name == LIBRARY and turn > 0)
    of_megabyte = {
        name: [
            Cost(cost.wall / len(text) * 1e6, cost.cpu / len(text) * 1e6)
            for cost, text in zip(each, texts[1:], strict=False)  # the library has the first only
        ]
        for name, each in costs.items()
    }
    equal = {OURS: found[OURS][0].tolist() == expected[0]}
    if alone is not None:
        equal[GIGATOKEN] = holds(np.array(expected[0]), found[GIGATOKEN][0]) and all(
            map(holds, found[OURS], found[GIGATOKEN])
        )
    return {name: medians(each) for name, each in of_megabyte.items()}, equal


def cut(text: str, num_chunks: int, num_chars: int) -> list[str]:
    """The leading chunks of a text, of equal length."""
    each = min(num_chars, len(text) // num_chunks)
    return [text[place * each : (place + 1) * each] for place in range(num_chunks)]


def compare_families(
    families: Sequence[Path], texts: dict[str, list[str]], threads: int
) -> dict[str, Any]:
    """Measure all families on all texts, and print the table."""
    rows: list[list[str]] = []
    results: dict[str, Any] = {}
    for folder in families:
        print(folder.name, flush=True)
        family = load(folder)
        engine = f"{family.engine.name} ({family.engine.reason})"
        results[folder.name] = {"engine": engine, "loading": family.loading, "texts": {}}
        cells: list[list[str]] = []
        for name, chunks in texts.items():
            print(f" {name}", flush=True)
            costs, equal = measure_text(family, chunks, threads)
            results[folder.name]["texts"][name] = {"a megabyte": costs, "equal": equal}
            cells.append(_cells(costs, equal))
        loading = [f"{cost.wall:.2f}" for cost in family.loading.values()]
        columns = [" / ".join(column) for column in zip(*cells, strict=True)]
        rows.append([_name(folder), family.engine.name, *columns, " / ".join(loading)])
        print(f"  {engine}", flush=True)
    print(
        f"threads of codedata: {threads}; columns: {' / '.join(texts)}; ids equal in every figure"
    )
    headings = ["MB/s", "times faster, wall", "CPU", "of gigatoken, CPU", "loading, s"]
    print_table(["family", "engine", *headings], rows)
    return results


def _name(folder: Path) -> str:
    derived = folder.name in FAMILIES and FAMILIES[folder.name].derived
    return f"{folder.name} (derived)" if derived else folder.name


def _cells(costs: dict[str, Cost], equal: dict[str, bool]) -> list[str]:
    """Of one text; where ids differ there are no figures."""
    library, ours = costs[LIBRARY], costs[OURS]
    if not equal[OURS]:
        return ["ids differ"] * 4
    alone = "refused"
    if GIGATOKEN in costs:
        alone = f"{costs[GIGATOKEN].cpu / ours.cpu:.2f}" if equal[GIGATOKEN] else "ids differ"
    times = (library.wall / ours.wall, library.cpu / ours.cpu)
    return [f"{1 / ours.wall:.0f}", *(f"{each:.0f}" for each in times), alone]


def compare_scripts(
    families: Sequence[Path], corpus: Path, num_chars: int, rounds: int
) -> dict[str, Any]:
    """Run the script with each tokenizer, and print its time against that of `encode`."""
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    parquet, target = work / "text.parquet", work / "dataset"
    write_leading_text(corpus, num_chars, parquet)
    first = CharRange(0, min(num_chars, Settings().chunk_size))
    text = ParquetText(parquet).read(first)

    def fresh(folder: Path) -> Cost:
        for each in (target, work / "cache"):
            shutil.rmtree(each, ignore_errors=True)
        command = script_command(parquet, target, str(folder), num_chars)
        command += ["--pad_token", "0"]  # the default is deepseek-coder's, and not in all of them
        return run(command, {"XDG_CACHE_HOME": str(work / "cache")})

    rows: list[list[str]] = []
    results: dict[str, Any] = {}
    for folder in families:
        loaded = load_tokenizer(find_tokenizer(str(folder)))
        costs = alternate({folder.name: partial(fresh, folder)}, rounds, lambda _name, _turn: False)
        script = medians(costs[folder.name])
        library, ids = encode_whole(loaded, text)
        compare_with_first(target, ids)
        scale = num_chars / first.num_chars
        whole = Cost(library.wall * scale, library.cpu * scale)
        results[folder.name] = {"script": costs[folder.name], "encode, scaled": whole}
        rows.append(
            [
                _name(folder),
                f"{script.wall:.2f}",
                f"{script.cpu:.1f}",
                f"{script.peak / 1e6:.0f}",
                f"{whole.wall:.1f}",
                f"{whole.wall / script.wall:.1f}",
                f"{whole.cpu / script.cpu:.1f}",
            ]
        )
    headings = [
        *("family", "script, s", "CPU s", "peak MB", "encode, s"),
        *("times faster, wall", "CPU"),
    ]
    print_table(headings, rows)
    shutil.rmtree(work)
    return results


def compare_with_first(folder: Path, ids: Sequence[int]) -> None:
    """Require that a dataset begins with the full samples of its first chunk."""
    dataset = open_dataset(folder, verify=True)
    rows = len(ids) // dataset.seq_length
    found = np.concatenate(dataset.shards)[:rows]
    expected = np.reshape(ids[: rows * dataset.seq_length], found.shape)
    assert rows, "the text is too short"
    assert np.array_equal(found, expected), f"{folder}: ids differ"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizers", type=Path, required=True, help="folder of families")
    parser.add_argument("--folder", type=Path, nargs="+", default=[], help="further tokenizers")
    parser.add_argument("--texts", type=Path, help="folder of the Latin and the CJK text")
    parser.add_argument("--families", nargs="+", help="some; all by default")
    parser.add_argument("--chars", type=int, default=10_000_000, help="characters of a chunk")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores(), help="of codedata")
    parser.add_argument("--end-to-end", nargs="+", default=[], help="families for the script")
    parser.add_argument("--script-chars", type=int, default=60_000_000)
    options = parser.parse_args()
    limit_library_threads(options.threads)
    parameters = vars(options) | {name: version(name) for name in ("tokenizers", "gigatoken")}
    folders = {
        folder.name: folder for folder in [*sorted(options.tokenizers.iterdir()), *options.folder]
    }
    if options.end_to_end:
        chosen = [folders[name] for name in options.end_to_end]
        results = compare_scripts(chosen, options.corpus, options.script_chars, options.rounds)
        save("families-end-to-end", parameters, results)
        return
    corpus = ParquetText(options.corpus)
    num_chunks = options.rounds + 1
    window = corpus.clip(CharRange(0, num_chunks * options.chars))
    texts = {"C": cut(corpus.read(window), num_chunks, options.chars)}
    if options.texts:
        for script in (LATIN, CJK):
            text = (options.texts / f"{script}.txt").read_text(encoding="utf-8")
            texts[script] = cut(text, num_chunks, options.chars)
    chosen = [folders[name] for name in options.families or folders]
    results = compare_families(chosen, texts, options.threads)
    save("families", parameters, results)


if __name__ == "__main__":
    main()
