"""Dataset folders -> a PyTorch dataset of samples for causal language models.

Each sample is {"input_ids": LongTensor (seq_length,), "labels": LongTensor (seq_length,)}, and has
"document_ids": LongTensor (seq_length,) where the datasets have documents. The samples stay in the
mapped shard files, which all processes share; only the one asked for is copied into tensors.
Nothing is unpickled: see `codedata.format.shards`.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from codedata.errors import DatasetError
from codedata.format.meta import META_NAME, shard_name
from codedata.places import place_at
from codedata.progress import SILENT, TERMINAL
from codedata.store.copies import open_at
from codedata.store.dataset_folder import Dataset
from codedata.training.batches import IGNORED_LABEL, Sample
from codedata.training.samples import StoredSamples

__all__ = ["IGNORED_LABEL", "PickledTrainerDataset", "Sample"]

StrPath = str | os.PathLike[str]


class PickledTrainerDataset(StoredSamples):
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
        self._start(opened)
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
                dataset._start([opened])
                if not quiet:
                    dataset._report()
                return dataset
            folder = fetch_dataset(repo, revision, reporter)
        except HubError as error:
            raise DatasetError(
                f"dataset {repo} at {revision!r}: the hub does not give it: {error}"
            ) from error
        return cls([folder], quiet=quiet, verify=verify)

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
        if not isinstance(path, str | os.PathLike) or path == "":
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
