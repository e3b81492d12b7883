"""The errors a user can meet: each message names what, the value found, where, and the remedy.

All derive from `CodedataError`, itself a `ValueError`: a command line prints them as one line.
They carry nothing but their message, so they survive pickling between processes, and it is
printable: names of files and columns, and messages of libraries and servers, go into it.
"""

from codedata.printable import printable


class CodedataError(ValueError):
    """A mistake of input, configuration or environment that the user can mend."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class SettingsError(CodedataError):
    """A switch has a value outside its range, or two switches contradict each other."""


class CorpusError(CodedataError):
    """The parquet is missing, damaged, of the wrong shape, or holds no usable text."""


class TokenizerError(CodedataError):
    """The tokenizer is missing, unreadable, or does not keep the text."""


class ExactnessError(CodedataError):
    """An engine gave other ids than the tokenizers library: a defect of this package."""


class DatasetError(CodedataError):
    """A dataset folder, its meta or one of its shards is not what the format says."""


class CheckFailedError(CodedataError):
    """A dataset that was made does not pass a check; it was not published."""


class TargetError(CodedataError):
    """The target folder cannot be replaced by a dataset."""


class UntrustedError(CodedataError):
    """A stranger wrote what lies in a store, or may write it."""


class ChunkMismatchError(CodedataError):
    """A token chunk is damaged, or not the one that was to be packed."""


class StoreError(CodedataError):
    """An object store does not take or give what it is asked for."""


class WorkerError(CodedataError):
    """A chunk could not be finished where it was tokenized: memory ran out."""
