"""One dataset -> one new folder in a format, whole or not at all.

The files are written into a hidden folder beside the output, forced to the disk, and renamed. An
export that is killed leaves that hidden folder, and no output.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from codedata.errors import TargetError
from codedata.export import mds, megatron, npy, parquet
from codedata.io.dataset_folder import Dataset
from codedata.io.files import fsync_folder, shortened, why_no_path


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format to export to.

    Attributes:
        write: writes a dataset into an empty folder.
        usage: how the result is opened, `{folder}` being where it lies.
    """

    write: Callable[[Dataset, Path], None]
    usage: str


FORMATS = {
    "parquet": ExportFormat(
        write=parquet.write, usage='datasets.load_dataset("{folder}", split="train")'
    ),
    "npy": ExportFormat(
        write=npy.write, usage='numpy.load("{folder}/input_ids.npy", mmap_mode="r")'
    ),
    "megatron": ExportFormat(
        write=megatron.write,
        usage='megatron.core.datasets.indexed_dataset.IndexedDataset("{folder}/samples")',
    ),
    "mds": ExportFormat(write=mds.write, usage='streaming.StreamingDataset(local="{folder}")'),
}


def export_dataset(dataset: Dataset, to: str, output: Path) -> None:
    """Write a dataset in another format.

    Args:
        dataset: an opened one.
        to: a name of FORMATS.
        output: the folder to make; it may exist, if it is empty.

    Raises:
        TargetError: the output is in the way, or cannot be made.
    """
    try:
        if os.path.lexists(output) and (not output.is_dir() or any(output.iterdir())):
            raise TargetError(
                f"the output {output} exists already; name a new folder (--output), or remove it"
            )
        output.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except (OSError, ValueError) as error:
        if isinstance(error, TargetError):
            raise
        raise TargetError(
            f"the output {shortened(str(output))} cannot be made: {why_no_path(error)}; name "
            "another folder (--output)"
        ) from error
    try:
        stage.chmod(0o777 & ~_umask())  # mkdtemp's is for its owner alone
        FORMATS[to].write(dataset, stage)
        for path in sorted(stage.iterdir()):
            _fsync(path)
        fsync_folder(stage)
        os.rename(stage, output)
        fsync_folder(output.parent)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
