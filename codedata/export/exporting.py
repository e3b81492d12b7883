"""One dataset -> one new folder in a format, whole or not at all.

The files are written into a hidden folder beside the output, forced to the disk, and renamed. What
an export that was killed left there, the next one to the same output clears away.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codedata.errors import TargetError
from codedata.export import mds, megatron, npy, parquet
from codedata.printable import shortened
from codedata.store.dataset_folder import Dataset
from codedata.store.files import publish_folder
from codedata.store.locks import exclusive_lock
from codedata.store.owners import explained


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format to export to.

    Attributes:
        write: writes a dataset into an empty folder.
        usage: how the result is opened, `{folder}` being where it lies, inside quotes.
        boundaries: what carries those of documents.
    """

    write: Callable[[Dataset, Path], None]
    usage: str
    boundaries: str


FORMATS = {
    "parquet": ExportFormat(
        write=parquet.write,
        usage='datasets.load_dataset("{folder}", split="train")',
        boundaries=parquet.BOUNDARIES,
    ),
    "npy": ExportFormat(
        write=npy.write,
        usage='numpy.load("{folder}/input_ids.npy", mmap_mode="r")',
        boundaries=npy.BOUNDARIES,
    ),
    "megatron": ExportFormat(
        write=megatron.write,
        usage='megatron.core.datasets.indexed_dataset.IndexedDataset("{folder}/samples")',
        boundaries=megatron.BOUNDARIES,
    ),
    "mds": ExportFormat(
        write=mds.write,
        usage='streaming.StreamingDataset(local="{folder}")',
        boundaries=mds.BOUNDARIES,
    ),
}


def export_dataset(dataset: Dataset, to: str, output: Path) -> None:
    """Write a dataset in another format.

    Args:
        dataset: an opened one.
        to: a name of FORMATS.
        output: the folder to make; it may exist, if it is empty.

    Raises:
        TargetError: the output is in the way, in use, or cannot be written.
    """
    if "\0" in str(output):
        raise TargetError(f"the output {str(output)!r} is no path; name another folder (--output)")
    try:
        if os.path.lexists(output) and (not output.is_dir() or any(output.iterdir())):
            raise TargetError(
                f"the output {output} exists already; name a new folder (--output), or remove it"
            )
        output = output.resolve()  # `.` and `..` have no name
        if output.is_relative_to(dataset.folder.resolve()):
            raise TargetError(
                f"the output {output} is inside the dataset {dataset.folder}, which the next run "
                "replaces; name another folder (--output)"
            )
        work = output.with_name(f".{output.name}.export")
        stage = work / "stage"
        with exclusive_lock(work / "lock", f"the output {output}"):
            try:
                shutil.rmtree(stage, ignore_errors=True)  # of an export that was killed
                stage.mkdir()
                FORMATS[to].write(dataset, stage)
                publish_folder(stage, output)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        why = explained(error) if isinstance(error, PermissionError) else error.strerror or error
        raise TargetError(
            f"the output {shortened(str(output))} cannot be written: {why}; mend that, or name "
            "another folder (--output)"
        ) from error
