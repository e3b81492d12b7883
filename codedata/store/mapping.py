"""An opened file -> its bytes: mapped, or read where its filesystem cannot map."""

import errno
import mmap
import os
import sys
from typing import Any

import numpy as np

from codedata.format.shards import Bytes

_OPTIONS: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""From Python 3.13 on a mapping needs no open file; before, each one holds a descriptor."""

_CANNOT_MAP = (errno.ENODEV, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""What filesystems that map no files say: FUSE with direct_io, folders shared with a virtual
machine."""


def map_file(descriptor: int) -> Bytes:
    """The bytes of a file, uint8, shape (num_bytes,), read-only.

    Raises:
        OSError: there is no memory for the mapping, or the file cannot be read.
    """
    if not os.fstat(descriptor).st_size:
        return np.empty(0, np.uint8)
    try:
        return np.frombuffer(
            mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ, **_OPTIONS), np.uint8
        )
    except OSError as error:
        if error.errno not in _CANNOT_MAP:
            raise
    with open(descriptor, "rb", closefd=False) as file:
        os.lseek(descriptor, 0, os.SEEK_SET)
        return np.frombuffer(file.read(), np.uint8)
