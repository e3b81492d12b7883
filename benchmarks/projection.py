"""Rates measured elsewhere, and prices -> what a corpus takes on a cluster: docs/scale.md's tables.

    python -m benchmarks.projection
    python -m benchmarks.projection --usd_per_core_hour 0.03 --machines 20 --cores_a_machine 32

Nothing is measured here: every input is a switch with its source beside it, every result a line of
arithmetic. A text's bytes are taken for its characters, as code is ASCII but for a hundredth.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field, fields


def _given(default: float, what: str) -> float:
    return field(default=default, metadata={"what": what})


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the arithmetic starts from; M characters are 1,000,000, GB 1,000,000,000 bytes."""

    parquet_a_char: float = _given(0.36, "bytes a character of the source's text column, snappy")
    part_a_char: float = _given(0.26, "bytes a character of a part in the store, zstd")
    chunk_a_char: float = _given(0.93, "bytes a character of a token chunk (where the time goes)")
    shard_a_char: float = _given(1.4, "bytes a character of a shard (where the time goes)")
    part_mchars: float = _given(4, "M characters of a part")
    chunk_mchars: float = _given(10, "M characters of a chunk, the default")
    shards_a_chunk: float = _given(
        1, "shards a chunk, by the defaults: some 3,000 samples of 10,000"
    )
    corpus_ms: float = _given(19, "CPU ms a M characters: source to parts (formats)")
    corpus_cores: float = _given(1.5, "cores that bringing a corpus keeps busy (formats)")
    dataset_ms: float = _given(52, "CPU ms of a worker a M characters: parts to shards (objects)")
    chunk_ms: float = _given(41, "CPU ms of a worker a chunk beside its text (objects)")
    driver_ms: float = _given(2.7, "CPU ms of the driver a chunk (objects)")
    machines: float = _given(8, "machines")
    cores_a_machine: float = _given(16, "cores of each")
    gbit_a_machine: float = _given(10, "Gbit/s between each and the store, lasting")
    usd_per_core_hour: float = _given(0.045, "USD")
    usd_per_1000_puts: float = _given(0.005, "USD; listings cost the same")
    usd_per_1000_gets: float = _given(0.0004, "USD")
    usd_per_gb_month: float = _given(0.023, "USD")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus by what is known of it before it is read."""

    name: str
    files: int
    text_gb: float


CORPORA = (
    Corpus(name="The Stack's C", files=257, text_gb=85),
    Corpus(name="all of The Stack", files=19_400, text_gb=6_400),
)


def results(given: Inputs, corpus: Corpus) -> Iterator[tuple[str, str, str]]:
    """Each result: its name, its arithmetic in the names of the inputs, and its value."""
    mchars = corpus.text_gb * 1e3
    chunks = mchars / given.chunk_mchars
    parts = mchars / given.part_mchars
    shards = chunks * given.shards_a_chunk
    read_parts = 1 + given.chunk_mchars / given.part_mchars
    yield "chunks", "text / chunk_mchars", f"{chunks:,.0f}"

    corpus_hours = mchars * given.corpus_ms / 3.6e6
    dataset_hours = (mchars * given.dataset_ms + chunks * given.chunk_ms) / 3.6e6
    yield "core hours, corpus", "text x corpus_ms", f"{corpus_hours:,.1f}"
    dataset = "text x dataset_ms + chunks x chunk_ms"
    yield "core hours, dataset", dataset, f"{dataset_hours:,.1f}"

    source, text = corpus.text_gb * given.parquet_a_char, corpus.text_gb * given.part_a_char
    ids, packed = corpus.text_gb * given.chunk_a_char, corpus.text_gb * given.shard_a_char
    corpus_gb = source + text
    text_read = text * read_parts * given.part_mchars / given.chunk_mchars
    dataset_gb = text_read + 2 * ids + 2 * packed
    yield "GB moved, corpus", "source read + parts written", f"{corpus_gb:,.0f}"
    moved = (
        "parts read (1 + chunk_mchars / part_mchars a chunk), chunks and shards written and read"
    )
    yield "GB moved, dataset", moved, f"{dataset_gb:,.0f}"
    a_core = dataset_gb * 1e3 / (dataset_hours * 3_600)
    yield "MB/s a core moves", "GB moved / core hours, dataset", f"{a_core:,.0f}"
    yield "GB kept", "parts + chunks + shards", f"{text + ids + packed:,.0f}"

    puts = parts + chunks + shards + 2 * corpus.files
    gets = chunks * read_parts + chunks + shards + corpus.files
    lists = (parts + chunks + shards) / 1_000
    yield "PUT", "parts + chunks + shards + 2 a file", f"{puts:,.0f}"
    yield "GET", "parts of chunks + chunks + shards + 1 a file", f"{gets:,.0f}"
    yield "LIST", "1,000 names each", f"{lists:,.0f}"

    fed = dataset_hours * 3.6e6 / (chunks * given.driver_ms)
    yield "cores that one driver feeds", "core hours, dataset / (chunks x driver_ms)", f"{fed:,.0f}"

    alone = {
        "its cores": corpus_hours / given.corpus_cores,
        "its network": corpus_gb * 8 / given.gbit_a_machine / 3_600,
    }
    yield from _slowest(
        "corpus, by the driver", alone, "core hours / corpus_cores, GB x 8 / Gbit/s"
    )
    spread = {
        "the cores": dataset_hours / (given.machines * given.cores_a_machine),
        "the network": dataset_gb * 8 / (given.machines * given.gbit_a_machine) / 3_600,
        "the driver": chunks * given.driver_ms / 3.6e6,
    }
    bounds = "core hours / cores, GB x 8 / Gbit/s, chunks x driver_ms"
    yield from _slowest("dataset, by all machines", spread, bounds)

    compute = (corpus_hours + dataset_hours) * given.usd_per_core_hour
    requests = (puts + lists) * given.usd_per_1000_puts / 1e3 + gets * given.usd_per_1000_gets / 1e3
    kept = (text + ids + packed) * given.usd_per_gb_month
    yield "USD, cores in use", "core hours x usd_per_core_hour", f"{compute:,.2f}"
    yield "USD, requests", "PUT and LIST, GET", f"{requests:,.2f}"
    yield "USD a month, kept", "GB kept x usd_per_gb_month", f"{kept:,.2f}"


def _slowest(what: str, hours: dict[str, float], arithmetic: str) -> Iterator[tuple[str, str, str]]:
    """What each bound alone would let something take: the longest, and which it is."""
    bound = max(hours, key=lambda name: hours[name])
    others = ", ".join(f"{each} {hours[each]:,.2f}" for each in hours if each != bound)
    yield f"hours, {what}", arithmetic, f"{hours[bound]:,.2f}: {bound} ({others})"


def tables(given: Inputs) -> str:
    """The inputs, and the results for each corpus, as tables of Markdown."""
    lines = ["| input | value | what it is |", "|---|---|---|"]
    values = ((each, getattr(given, each.name)) for each in fields(given))
    lines += [f"| `{each.name}` | {value:g} | {each.metadata['what']} |" for each, value in values]
    lines += ["", "| | " + " | ".join(each.name for each in CORPORA) + " | arithmetic |"]
    lines += ["|---" * (len(CORPORA) + 2) + "|"]
    sizes = [f"{each.files:,} files, {each.text_gb:,.0f} GB" for each in CORPORA]
    lines += [f"| text | {' | '.join(sizes)} | |"]
    for rows in zip(*(results(given, each) for each in CORPORA), strict=True):
        name, arithmetic, _ = rows[0]
        lines += [f"| {name} | {' | '.join(row[2] for row in rows)} | {arithmetic} |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables for the inputs of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for each in fields(Inputs):
        parser.add_argument(f"--{each.name}", type=float, help=each.metadata["what"])
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    print(tables(Inputs(**given)), end="")


if __name__ == "__main__":
    main()
