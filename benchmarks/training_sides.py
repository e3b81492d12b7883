"""One side of `benchmarks.training`, in a process of its own and with an interpreter of its own.

    python -P benchmarks/training_sides.py NAME make IDS FOLDER SAMPLES_A_SHARD
    python -P benchmarks/training_sides.py NAME speed FOLDER          (what stdin asks for)
    python -P benchmarks/training_sides.py NAME open FOLDER
    python -P benchmarks/training_sides.py NAME save FOLDER WORKERS STATE       (waits to be killed)
    python -P benchmarks/training_sides.py NAME resume FOLDER WORKERS STATE

Every side gives {"input_ids", "labels"}, int64, (batch size, seq_length), in a shuffled order. IDS
is an array of uint16, (number of samples, seq_length), as .npy. Answers are lines of JSON.
"""

import gc
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

Batch = dict[str, torch.Tensor]

_WARM_BATCHES = 16
"""Of each epoch, before the clock runs: workers have started, and loaded ahead what they may."""

_DONE = 200
"""Batches before the state that is resumed."""

_LENGTH = "seq_length"
"""A file beside a peer's own, where it does not say it itself."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """How one library makes a dataset and loads batches of it.

    Attributes:
        modules: what is imported before any clock runs.
        make: writes ids into a new folder, so many samples a shard.
        load: folder, batch size, workers -> what gives the batches of an epoch when iterated.
    """

    modules: tuple[str, ...] = ()
    make: Callable[[Any, Path, int], None]
    load: Callable[[Path, int, int], Any]


def _pair(ids: Any) -> Batch:
    tensor = torch.from_numpy(ids.astype(np.int64))
    return {"input_ids": tensor, "labels": tensor.clone()}


class _Pairs(Dataset[Batch]):
    """Samples of whatever gives one array of ids an index."""

    def __init__(self, ids: Any, number: int) -> None:
        self.ids, self.number = ids, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> Batch:
        return _pair(self.ids[index])


def _plain(dataset: Any, batch_size: int, workers: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        **options,
    )


# codedata, whichever is first on the path


def _make_codedata(ids: Any, folder: Path, samples_a_shard: int) -> None:
    from codedata.format.meta import META_NAME, ShardEntry, dump_meta, shard_name
    from codedata.format.shards import encode_shard

    entries: list[ShardEntry] = []
    for start in range(0, len(ids), samples_a_shard):
        rows = np.asarray(ids[start : start + samples_a_shard])
        data = b"".join(map(bytes, encode_shard(rows, pad_token=0)))
        (folder / shard_name(len(entries))).write_bytes(data)
        entries.append(
            ShardEntry(
                num_samples=len(rows),
                num_tokens=rows.size,
                sha256=sha256(data).hexdigest(),
                last_sample_tokens=rows.shape[1],
            )
        )
    (folder / META_NAME).write_bytes(dump_meta(entries))


def _dataset(folder: Path) -> Any:
    from codedata import PickledTrainerDataset

    return PickledTrainerDataset(folder, quiet=True)


def _resumable(dataset: Any, batch_size: int, workers: int, **options: Any) -> Any:
    from codedata import ResumableLoader

    return ResumableLoader(dataset, global_batch_size=batch_size, num_workers=workers, **options)


def _mixture(folder: Path) -> Any:
    """Three thirds of the dataset, by weight, for as long as is measured."""
    from codedata import Mixture

    whole = _dataset(folder)
    ends = np.linspace(0, len(whole), 4, dtype=int).tolist()
    thirds = [whole[start:stop] for start, stop in pairwise(ends)]
    weights = (0.5, 0.3, 0.2)
    return Mixture(
        [
            {"dataset": each, "weight": weight, "name": str(weight), "max_epochs": 100}
            for each, weight in zip(thirds, weights, strict=True)
        ],
        num_samples=50 * len(whole),
    )


def _codedata(load: Callable[[Path, int, int], Any]) -> Side:
    return Side(
        modules=("codedata", "codedata.training.loader", "codedata.training.dataset"),
        make=_make_codedata,
        load=load,
    )


def _load_plain(folder: Path, batch_size: int, workers: int) -> Any:
    import codedata

    collate = getattr(codedata, "collate_samples", None)  # there was none before
    return _plain(_dataset(folder), batch_size, workers, collate_fn=collate)


# The others


def _make_memmap(ids: Any, folder: Path, _: int) -> None:
    np.asarray(ids).tofile(folder / "ids.bin")


def _load_memmap(folder: Path, batch_size: int, workers: int) -> Any:
    ids = np.memmap(folder / "ids.bin", np.uint16, "r").reshape(-1, _length(folder))
    return _plain(_Pairs(ids, len(ids)), batch_size, workers)


def _make_megatron(ids: Any, folder: Path, _: int) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(str(folder / "ids.bin"), dtype=np.uint16)
    for row in ids:
        builder.add_document(row, [len(row)])
    builder.finalize(str(folder / "ids.idx"))


def _load_megatron(folder: Path, batch_size: int, workers: int) -> Any:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    ids = IndexedDataset(str(folder / "ids"), mmap=True)
    return _plain(_Pairs(ids, len(ids)), batch_size, workers)


def _make_litdata(ids: Any, folder: Path, samples_a_shard: int) -> None:
    from litdata.streaming import Cache, TokensLoader

    length = ids.shape[1]
    loader = TokensLoader(length)
    cache = Cache(str(folder), chunk_size=samples_a_shard * length, item_loader=loader)
    for number, row in enumerate(ids):
        cache[number] = np.array(row)
    cache.done()
    cache.merge()


def _load_litdata(folder: Path, batch_size: int, workers: int) -> Any:
    import litdata
    from litdata.streaming import TokensLoader

    class Sequences(litdata.StreamingDataset):
        def __getitem__(self, index: Any) -> Batch:
            tensor = torch.as_tensor(super().__getitem__(index)).long()
            return {"input_ids": tensor, "labels": tensor.clone()}

    loader = TokensLoader(_length(folder))
    dataset = Sequences(str(folder), item_loader=loader, shuffle=True, drop_last=True)
    return litdata.StreamingDataLoader(dataset, batch_size=batch_size, num_workers=workers)


def _make_arrow(ids: Any, folder: Path, samples_a_shard: int) -> None:
    import datasets
    import pyarrow as pa

    values = pa.array(np.asarray(ids).reshape(-1))
    table = pa.table({"ids": pa.FixedSizeListArray.from_arrays(values, ids.shape[1])})
    num_shards = -(-len(ids) // samples_a_shard)
    datasets.Dataset(table).save_to_disk(folder, num_shards=num_shards)


def _load_arrow(folder: Path, batch_size: int, workers: int) -> Any:
    import datasets

    def collate(samples: list[dict[str, Any]]) -> Batch:
        return _pair(np.stack([each["ids"] for each in samples]))

    dataset = datasets.load_from_disk(str(folder)).with_format("numpy")
    return _plain(dataset, batch_size, workers, collate_fn=collate)


def _make_mosaic(ids: Any, folder: Path, samples_a_shard: int) -> None:
    from streaming import MDSWriter

    columns = {"ids": f"ndarray:uint16:{ids.shape[1]}"}
    head = 300 + 5 * samples_a_shard  # a shard's own description, and where each sample begins
    limit = samples_a_shard * ids.shape[1] * 2 + head
    with MDSWriter(out=str(folder), columns=columns, size_limit=limit) as writer:
        for row in ids:
            writer.write({"ids": np.array(row)})


def _load_mosaic(folder: Path, batch_size: int, workers: int) -> Any:
    from streaming import StreamingDataLoader, StreamingDataset

    class Sequences(StreamingDataset):
        def __getitem__(self, index: Any) -> Batch:
            return _pair(super().__getitem__(index)["ids"])

    dataset = Sequences(local=str(folder), shuffle=True, batch_size=batch_size)
    return StreamingDataLoader(dataset, batch_size=batch_size, drop_last=True, num_workers=workers)


def _length(folder: Path) -> int:
    return int((folder / _LENGTH).read_text())


SIDES = {
    "codedata": _codedata(lambda folder, *sizes: _resumable(_dataset(folder), *sizes)),
    "codedata, masked": _codedata(
        lambda folder, *sizes: _resumable(_dataset(folder).with_padding_masked(), *sizes)
    ),
    "codedata, blocks": _codedata(
        lambda folder, *sizes: _resumable(_dataset(folder), *sizes, shuffle="blocks")
    ),
    "codedata, mixture": _codedata(lambda folder, *sizes: _resumable(_mixture(folder), *sizes)),
    "codedata, DataLoader": _codedata(_load_plain),
    "memmap": Side(make=_make_memmap, load=_load_memmap),
    "Megatron": Side(
        modules=("megatron.core.datasets.indexed_dataset",),
        make=_make_megatron,
        load=_load_megatron,
    ),
    "litdata": Side(modules=("litdata",), make=_make_litdata, load=_load_litdata),
    "datasets": Side(modules=("datasets", "pyarrow"), make=_make_arrow, load=_load_arrow),
    "mosaicml": Side(modules=("streaming",), make=_make_mosaic, load=_load_mosaic),
}


def _rate(loader: Iterable[Batch], seconds: float) -> tuple[float, float]:
    """Samples a second, and this process's CPU seconds a sample; the start of each epoch aside."""
    number, spent, cpu = 0, 0.0, 0.0
    while spent < seconds:
        batches = iter(loader)
        for _ in range(_WARM_BATCHES):
            next(batches)
        started, cpu_started = time.perf_counter(), time.process_time()
        end = started + seconds - spent
        for batch in batches:
            number += len(batch["input_ids"])
            if time.perf_counter() > end:
                break
        spent += time.perf_counter() - started
        cpu += time.process_time() - cpu_started
        del batches  # its workers end before those of the next begin
    return number / spent, cpu / number


def _first_batch(loader: Iterable[Batch]) -> Batch:
    """It is what every side is to give."""
    batches: Iterator[Batch] = iter(loader)
    batch = next(batches)
    ids, labels = batch["input_ids"], batch["labels"]
    assert ids.dtype == labels.dtype == torch.int64
    assert ids.shape == labels.shape
    assert ids.equal(labels)
    return batch


def _answer(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def _save(side: Side, folder: Path, workers: int, state: Path) -> None:
    loader = side.load(folder, 8, workers)
    batches = iter(loader)
    for _ in range(_DONE):
        next(batches)
    saved = {"state": loader.state_dict(), "next": next(batches)["input_ids"]}
    torch.save(saved, state)
    _answer("saved")
    time.sleep(3600)


def _resume(side: Side, folder: Path, workers: int, state: Path) -> None:
    loader = side.load(folder, 8, workers)
    saved = torch.load(state, weights_only=False)
    loader.load_state_dict(saved["state"])
    _answer(_first_batch(loader)["input_ids"].equal(saved["next"]))


def main() -> None:
    """Do one thing for one side."""
    name, what, *rest = sys.argv[1:]
    side = SIDES[name]
    try:
        for module in side.modules:
            importlib.import_module(module)
    except ImportError as error:
        sys.exit(f"{name}: not installed here: {error}")
    if what == "make":
        ids, folder = np.load(rest[0], mmap_mode="r"), Path(rest[1])
        folder.mkdir()
        side.make(ids, folder, int(rest[2]))
        if side.make is not _make_codedata:
            (folder / _LENGTH).write_text(str(ids.shape[1]))
        return
    folder = Path(rest[0])
    if what == "speed":
        _first_batch(side.load(folder, 8, 0))
        _answer("ready")
        for line in sys.stdin:
            batch_size, workers, seconds = json.loads(line)
            _answer(_rate(side.load(folder, batch_size, workers), seconds))
    elif what == "open":
        gc.collect()  # what the imports left would be looked through in the midst of it, or not
        cpu, wall = time.process_time(), time.perf_counter()
        _first_batch(side.load(folder, 8, 0))
        _answer([time.perf_counter() - wall, time.process_time() - cpu])
    else:
        (_save if what == "save" else _resume)(side, folder, int(rest[1]), Path(rest[2]))


if __name__ == "__main__":
    main()
