"""Where bytes lie: the protocols that chunks, publishing and datasets are written over.

`Store`: names with slashes -> bytes; a name holds what was put there whole, or nothing. `Stage`:
what is published is seen whole, the one before or the next one. `Snapshot`: who reads it reads on
in the one that was opened. Nothing here needs a rename: a folder of this machine has one, an object
store writes a version and then its number.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

from codedata.format.card import CARD_NAME, render_card
from codedata.format.facts import FACTS_NAME, Facts, dump_facts
from codedata.format.meta import META_NAME, ShardEntry, dump_meta, shard_name
from codedata.format.shards import Bytes

Data = bytes | memoryview | Callable[[BinaryIO], object]
"""What a file is to hold, or a function that writes it into the opened file."""


class Snapshot(Protocol):
    """The files of what was published under a name when it was opened.

    Attributes:
        where: its place, for messages.
    """

    @property
    def where(self) -> str: ...  # noqa: D102

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """The bytes of each file whose name begins so; None of what is no plain file."""
        ...

    def keep(self) -> "Snapshot":
        """The same files, to be read as long as somebody holds it."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of a range.

        Raises:
            FileNotFoundError: with the name as `filename`; see `is_current`.
        """
        ...

    def map(self, name: str) -> Bytes:
        """All bytes, read-only; they stay when the snapshot is left.

        Raises:
            FileNotFoundError: as `read` does.
        """
        ...

    def map_file(self, name: str) -> tuple[Bytes, os.stat_result | None]:
        """All bytes, as `map` gives them, and of which file in which state they are.

        Raises:
            FileNotFoundError: as `read` does.

        Returns:
            The bytes, and what `fstat` says of the file that was opened, as it was before; None
            where it is none of this machine.
        """
        ...

    def state_of(self, name: str) -> os.stat_result | None:
        """In which state a file is now, as `map_file` says it; None where that is not known."""
        ...

    def loosen(self) -> None:
        """Have no folder open from now on: it is opened by its name, while it is the same one."""
        ...

    def is_current(self) -> bool:
        """Whether nothing was published since: where something was, files may be gone."""
        ...


class Stage(ABC):
    """A dataset that is being written, while its name's lock is held."""

    def add_shard(self, index: int, data: Data) -> None:
        """Write a shard; any order, any thread."""
        self.put(shard_name(index), data)

    def add_facts(self, facts: Facts) -> None:
        """Write what it is made of, and its card."""
        card = render_card(facts)
        self.put(FACTS_NAME, dump_facts(facts, card))
        self.put(CARD_NAME, card)

    def add_meta(self, entries: Sequence[ShardEntry]) -> None:
        """Write the meta, the mark that what is staged is whole."""
        self.put(META_NAME, dump_meta(entries))

    @abstractmethod
    def put(self, name: str, data: Data) -> None:
        """Write a file of the stage durably; any thread."""

    @abstractmethod
    def publish(self) -> object:
        """Let readers see what is staged in place of what they saw until now.

        Raises:
            TargetError: what is there came during the run and is no dataset.
        """


class Store(Protocol):
    """Named bytes."""

    def where(self, name: str) -> str:
        """The place of a name, for messages."""
        ...

    def put(self, name: str, data: Data) -> None:
        """Write durably: the name holds what it held before, or all of `data`."""
        ...

    def put_if_absent(self, name: str, data: Data) -> bool:
        """Write as `put` does where the name holds nothing; of several at once one does."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of a range.

        Raises:
            FileNotFoundError: the name holds nothing.
            UntrustedError: a stranger wrote it, or may.
        """
        ...

    def map(self, name: str) -> Bytes:
        """All bytes, read-only; they stay when the name is replaced or removed.

        Raises:
            FileNotFoundError: the name holds nothing.
            UntrustedError: a stranger wrote it, or may.
        """
        ...

    def list(self, prefix: str = "") -> Sequence[str]:
        """Every name that starts so, sorted."""
        ...
