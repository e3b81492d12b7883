"""Opened datasets -> their samples as a sequence, whose slices and picks are sequences too.

What a dataset of folders (`training.dataset`) and a mixture (`training.mixture`) have in common:
rows of a reader, in the order of `_rows`, with what is known of them. The samples stay in the
mapped shard files, which all processes share; only those asked for are copied into tensors.
Nothing is unpickled: see `codedata.format.shards`.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from operator import index as as_index
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import get_worker_info

from codedata.errors import DatasetError
from codedata.format.mixing import MixedRows
from codedata.printable import printable, shortened
from codedata.store.copies import reopen
from codedata.store.dataset_folder import Dataset
from codedata.training.batches import Sample, Samples, StoredBatch
from codedata.training.described import Described, summary
from codedata.training.documents import SampleDocument
from codedata.training.reader import SampleReader

Indices = Sequence[int] | NDArray[np.integer[Any]] | torch.Tensor


class StoredSamples(Described, TorchDataset[Sample]):
    """Samples of opened datasets: what `PickledTrainerDataset` and `Mixture` both have.

    A sequence: `len`, negative indices and iteration as a list has them. A slice is another one
    over the same files, and so is what a list, array or tensor of indices picks, in its order.
    Picklable: another process opens the same files, and refuses if there is another dataset by
    then.

    Attributes:
        datasets: the opened folders.
        seq_length: tokens a sample.
        digest: equal only for the same samples in the same order.
    """

    def _start(self, opened: list[Dataset]) -> None:
        self._adopt(opened)
        self._rows: range | NDArray[np.int64] | MixedRows = range(len(self._reader))
        self._masks_padding = False
        self._gives_stored = False

    def _adopt(self, datasets: list[Dataset]) -> None:
        self.datasets = datasets
        self.seq_length = datasets[0].seq_length
        self._reader = SampleReader(datasets)

    @property
    def total_samples(self) -> int:
        """Number of samples, the same as `len`."""
        return len(self)

    @property
    def total_tokens(self) -> int:
        """Tokens of all samples, padding included."""
        return len(self) * self.seq_length

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
        self._require_padding_known()
        return self._but(_masks_padding=True)

    def _require_padding_known(self) -> None:
        if not self.has_documents:  # whose spans say it, sample by sample
            _ = self._reader.padded_rows

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
        own, ours = type(self), StoredSamples
        if own.__getitem__ is not ours.__getitem__ or own.__len__ is not ours.__len__:
            return (self[i] for i in range(len(self)))
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
        if type(self).__getitem__ is not StoredSamples.__getitem__:
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
        except TypeError as error:
            raise TypeError(
                f"{printable(shortened(repr(indices)))} are no numbers of samples: {error}; what "
                "draws lists, as GlobalBatchSampler does, is a DataLoader's batch_sampler="
            ) from error
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
