"""Dataset folders -> a PyTorch dataset of samples for causal language models.

Each sample is {"input_ids": LongTensor (seq_length,), "labels": LongTensor (seq_length,)}, and has
"document_ids": LongTensor (seq_length,) where the datasets have documents. The samples stay in the
mapped shard files, which all processes share; only the one asked for is copied into tensors.
Nothing is unpickled: see `codedata.format.shards`.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from operator import index as as_index
from pathlib import Path
from typing import Any, Self, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info
from tqdm import tqdm

from codedata.errors import DatasetError
from codedata.format.meta import META_NAME, shard_name
from codedata.format.mixing import MixedRows
from codedata.places import place_at
from codedata.printable import printable, shortened
from codedata.progress import SILENT, TERMINAL
from codedata.store.copies import open_at, reopen
from codedata.store.dataset_folder import Dataset
from codedata.training.batches import IGNORED_LABEL, Sample, Samples, StoredBatch
from codedata.training.described import Described, summary
from codedata.training.documents import SampleDocument
from codedata.training.reader import SampleReader

__all__ = ["IGNORED_LABEL", "PickledTrainerDataset", "Sample"]

StrPath = str | os.PathLike[str]
Indices = Sequence[int] | NDArray[np.integer[Any]] | torch.Tensor


class PickledTrainerDataset(Described, TorchDataset[Sample]):
    """The samples of one or more dataset folders, in the order of folders, shards and rows.

    A sequence: `len`, negative indices and iteration as a list has them. A slice is another dataset
    over the same files, and so is what a list, array or tensor of indices picks, in its order.
    Picklable: another process maps the same files, and refuses if the folder holds another dataset
    by then. What lies in an object store is read from a copy in this user's cache: of one version
    for good, whatever is published later, and brought again where it is not. With `stream` no copy
    is made: each shard comes when it is asked for, and goes when the cache has no room for it.

    Samples of datasets with documents have `document_ids`, too: of each token the number of its
    span, 0 and up in each sample, in the list that `documents` gives of it; -1 is padding.

    Args:
        folders: dataset folders, as `tokenize_data` or the old script wrote them, or URLs of
            datasets in object stores (`s3://bucket/datasets/train`, `...train@7` for a version).
        quiet: neither print what is found nor show progress bars.
        verify: also recompute the hashes that each meta states.
        stream: bring of a dataset at a URL only what is asked for; folders are opened as ever.

    Attributes:
        datasets: the opened folders.
        seq_length: tokens a sample.
        digest: equal only for the same samples in the same order.

    Raises:
        DatasetError: a folder is no whole dataset, or its samples have another length than those
            of the first, or the facts of two name two tokenizers, or some have documents and others
            have none.
    """

    def __init__(
        self,
        folders: StrPath | Iterable[StrPath],
        *,
        quiet: bool = False,
        verify: bool = False,
        stream: bool = False,
    ) -> None:
        opened = [
            _open(place, quiet=quiet, verify=verify, stream=stream)
            for place in tqdm(_places(folders), desc="Finding files", disable=quiet)
        ]
        self._start(opened, quiet=quiet)

    def _start(self, opened: list[Dataset], *, quiet: bool) -> None:
        self._adopt(opened)
        self._rows: range | NDArray[np.int64] | MixedRows = range(len(self._reader))
        self._masks_padding = False
        self._gives_stored = False
        if not quiet:
            self._report()

    @classmethod
    def from_hub(
        cls,
        repo: str,
        revision: str = "main",
        *,
        quiet: bool = False,
        verify: bool = False,
        stream: bool = False,
    ) -> "PickledTrainerDataset":
        """A dataset that `codedata push` put on the Hugging Face Hub, fetched where it is not here.

        Args:
            repo: dataset repository, `owner/name`.
            revision: branch, tag or commit; only a commit is the same samples for ever, and costs
                no request once it is here.
            quiet: neither print what is found nor show progress bars.
            verify: also recompute the hashes, which the first fetch does anyway.
            stream: bring only the shards that are asked for, of the commit that the revision is
                now, into this user's cache (CODEDATA_CACHE_BYTES) and not that of the hub.

        Raises:
            DatasetError: the hub does not give it, or it is no whole dataset.
        """
        # A second of imports that local datasets do not need.
        from codedata.hub.datasets import fetch_dataset
        from codedata.hub.refusals import HubError
        from codedata.hub.streams import stream_of_hub

        reporter = SILENT if quiet else TERMINAL
        try:
            if stream:
                opened = stream_of_hub(repo, revision, reporter, verify=verify).open()
                dataset = object.__new__(cls)
                dataset._start([opened], quiet=quiet)
                return dataset
            folder = fetch_dataset(repo, revision, reporter)
        except HubError as error:
            raise DatasetError(
                f"dataset {repo} at {revision!r}: the hub does not give it: {error}"
            ) from error
        return cls([folder], quiet=quiet, verify=verify)

    def _adopt(self, datasets: list[Dataset]) -> None:
        self.datasets = datasets
        self.seq_length = datasets[0].seq_length
        self._reader = SampleReader(datasets)

    def _report(self) -> None:
        num_files = self._reader.num_shards
        tqdm.write(
            f"Checked {len(self.datasets)} folders and found {num_files} files with extension: pkl"
        )
        tqdm.write(f"Total samples: {self.total_samples}")
        tqdm.write(f"Total tokens: {self.total_tokens}")
        named = (
            (f"{each.place}/{shard_name(i)}", entry.num_samples)
            for each in self.datasets
            for i, entry in enumerate(each.entries)
        )
        for path, num_samples in tqdm(named, desc="Loading tokenized data"):
            tqdm.write(f"Loaded {num_samples} vectors from {path}")

    @property
    def total_samples(self) -> int:
        """Number of samples, the same as `len`."""
        return len(self._rows)

    @property
    def total_tokens(self) -> int:
        """Tokens of all samples, padding included."""
        return len(self._rows) * self.seq_length

    @property
    def digest(self) -> str:
        """Equal only for the same samples in the same order: of one whole folder its own digest.

        That is the sha256 of its meta, which has the sha256 of every shard; of a dataset of the old
        script, whose meta has counts only, the ids are hashed when this is first asked for. Of
        several folders, or of a slice, the sha256 of their digests and of the rows, as JSON
        `[[digest, ...], [first row, number of rows, step]]`; the step of one row is 1, and no row
        at all is `[0, 1]`. Of rows that indices picked, the JSON has the sha256 of their numbers as
        little-endian int64.
        """
        digests, rows = [each.content_digest for each in self.datasets], self._rows
        if isinstance(rows, np.ndarray):
            part = sha256(rows.astype("<i8").tobytes()).hexdigest()
        elif len(digests) == 1 and rows == range(len(self._reader)):
            return digests[0]
        else:
            assert isinstance(rows, range), "a mixture has a digest of its own"
            few = len(rows) < 2
            part = [*rows[:1], len(rows), 1] if few else [rows.start, len(rows), rows.step]
        return sha256(json.dumps([digests, part]).encode()).hexdigest()

    def shard_ends(self) -> NDArray[np.int64] | None:
        """After which number of its samples each shard ends, for a shuffle by blocks of shards.

        Returns:
            Ascending, shape (num_shards,); None where rows were picked, or a slice has a step.
        """
        rows = self._rows
        if not isinstance(rows, range) or (rows.step != 1 and len(rows) > 1):
            return None
        return np.clip(self._reader.ends - rows.start, 0, len(rows))

    @property
    def masks_padding(self) -> bool:
        """Whether the labels of padding are -100."""
        return self._masks_padding

    def with_padding_masked(self) -> Self:
        """The same samples, their labels -100 where a sample is padded, so that no loss counts it.

        Padding is found by its position, which the meta states, or where documents end, never by
        its id: the pad token may be one that the text has as well.

        Raises:
            DatasetError: a folder's meta does not say where padding begins.
        """
        if not self.has_documents:  # whose spans say it, sample by sample
            _ = self._reader.padded_rows
        return self._but(_masks_padding=True)

    @property
    def has_documents(self) -> bool:
        """Whether it is known where documents lie in samples."""
        return self._reader.index is not None

    @property
    def is_streamed(self) -> bool:
        """Whether shards come here only when their samples are asked for."""
        return self._reader.is_streamed

    def shards_of(self, indices: NDArray[np.int64]) -> tuple[SampleReader, NDArray[np.intp]]:
        """What reads the samples, and of each index, negative as well, the number of its shard."""
        rows, indices = self._rows, indices % len(self._rows)
        if isinstance(rows, range):
            return self._reader, self._reader.shards_of(rows.start + rows.step * indices)
        return self._reader, self._reader.shards_of(rows[indices])

    def documents(self, index: "int | np.integer[Any]") -> list[SampleDocument]:
        """What each span of a sample is: where it stands, of which document, which is from where.

        A shard's table of documents is read when this is first asked for, and kept until another
        shard's is.

        Raises:
            DatasetError: the datasets have no documents, or the table is not as it was written.
            IndexError: there is no such sample.
        """
        row = self._row(as_index(index))
        if self._reader.index is None:
            raise DatasetError(
                f"{self.datasets[0].where} does not say where its documents lie: it was made "
                "without a recipe; make it again with one"
            )
        return self._reader.index.describe(*self._reader.place(row))

    def _but(self, **changes: Any) -> Self:
        """Another dataset over the same files."""
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, **changes}
        return other

    def __repr__(self) -> str:
        has_hashes = all(entry.sha256 for each in self.datasets for entry in each.entries)
        return summary(
            type(self).__name__,
            self.datasets,
            num_samples=len(self),
            masks_padding=self._masks_padding,
            digest=self.digest if has_hashes else None,  # of the old script it takes all ids
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Sample]:
        sample, masks_padding = self._reader.sample, self._masks_padding
        return (sample(int(row), masks_padding) for row in self._rows)

    @overload
    def __getitem__(self, index: "int | np.integer[Any]") -> Sample: ...
    @overload
    def __getitem__(self, index: slice | Indices) -> Self: ...
    def __getitem__(self, index: "int | np.integer[Any] | slice | Indices") -> Sample | Self:
        """The sample of an index; the dataset of a slice, or of indices in their order.

        Raises:
            IndexError: there is no such sample.
            TypeError: it is nothing of these, such as a boolean, a mask or the name of a column.
        """
        if isinstance(index, slice):
            return self._but(_rows=self._rows[index])
        if type(index) is int:  # a training loop's: without numpy
            return self._reader.sample(self._row(index), self._masks_padding)
        numbers = np.asarray(index)
        is_list = numbers.ndim == 1 and not isinstance(index, tuple)
        are_whole = numbers.dtype.kind in "iu" or not numbers.size
        if not are_whole or not (is_list or numbers.ndim == 0):
            shown = printable(shortened(repr(index)))
            raise TypeError(
                f"a sample's index is a whole number, not {shown}; a slice, or a list, array or "
                "tensor of whole numbers, picks several samples (numpy.flatnonzero makes them of a "
                "mask), and dataset[0] has the columns"
            )
        if not is_list:
            return self._reader.sample(self._row(int(numbers)), self._masks_padding)
        return self._but(_rows=np.array(self._rows_of(numbers.tolist()), np.int64))

    def __getitems__(self, indices: Sequence[int]) -> "list[Sample] | StoredBatch":
        """The samples of some indices, gathered in one go: what torch's DataLoader asks for.

        Raises:
            IndexError: there is no such sample.
        """
        if type(self).__getitem__ is not PickledTrainerDataset.__getitem__:
            return [self[index] for index in indices]
        stored = self._reader.read(
            self._rows_of(indices),
            masks_padding=self._masks_padding,
            is_wide=get_worker_info() is None or not self._gives_stored,
        )
        return stored if self._gives_stored else Samples(stored)

    def storing(self) -> Self:
        """The same samples, of which `__getitems__` gives a StoredBatch.

        Not to be asked of a subclass that changes samples: see `training.shortcuts`.
        """
        return self._but(_gives_stored=True)

    def _rows_of(self, indices: Sequence[int]) -> list[int]:
        try:
            return [*map(int, map(self._rows.__getitem__, indices))]
        except IndexError:
            return [self._row(index) for index in indices]  # which names the sample

    def _row(self, index: int) -> int:
        """The row of all folders' that a sample of this dataset is."""
        try:
            return int(self._rows[index])
        except IndexError:
            first, *others = [each.where for each in self.datasets]
            where = f"{first} and {len(others)} more" if others else first
            numbers = f"their numbers are 0 to {len(self) - 1}" if len(self) else "it has none"
            raise IndexError(f"sample {index} of {len(self)} in {where}: {numbers}") from None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_reader"]
        state.pop("_tokenizer", None)  # a process that asks for it looks for it again
        state["datasets"] = [
            (each.folder.absolute(), each.url, each.digest, each.stream) for each in self.datasets
        ]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        reopened: list[Dataset] = []
        for folder, url, digest, stream in state["datasets"]:
            dataset = reopen(folder, url, stream)
            if dataset.digest != digest:
                raise DatasetError(
                    f"{dataset.where} was replaced by another dataset since this one was opened; "
                    "open it again, so that all processes read the same"
                )
            reopened.append(dataset)
        self._adopt(reopened)


def _places(folders: Any) -> list[Path | str]:
    """The folders and URLs that a caller named.

    Raises:
        DatasetError: it named none, or something that is no path.
    """
    is_one = isinstance(folders, str | bytes | os.PathLike) or not isinstance(folders, Iterable)
    paths: list[Any] = [folders] if is_one else list(cast("Iterable[Any]", folders))
    if not paths:
        raise DatasetError("no dataset folder was given; name at least one")
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise DatasetError(
                f"{path!r} is no dataset folder's path; name one folder, or a list of them"
            )
    return [place_at(path, "a dataset folder", error=DatasetError) for path in paths]


def _open(place: Path | str, *, quiet: bool, verify: bool, stream: bool) -> Dataset:
    if not quiet:
        tqdm.write(f"Checking folder: {place}")
    reporter = replace(TERMINAL, in_terminal=not quiet)
    dataset = open_at(place, reporter, verify=verify, stream=stream)
    if not quiet:
        if dataset.url is not None:
            tqdm.write(f"It is {dataset.url}")
        if dataset.stream is None:
            tqdm.write(f"Found meta file: {dataset.folder / META_NAME}")
    return dataset
