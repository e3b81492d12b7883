"""When a run is killed: in each of its phases, told by what it has made and not by a clock.

The moment is drawn as so many chunks or staged files, and a blink after them. Where whoever kills
was held up the run is further on, or done: then it is killed once more. So each phase is hit on any
machine, as often as it shall be.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

from codedata_tests.script_runs import work_folder

AT_FIRST = "before its first chunk"
BETWEEN = "between chunks"
STAGING = "while it stages"
PUBLISHED = "once it has published"
PHASES = (AT_FIRST, BETWEEN, STAGING, PUBLISHED)


class Kills:
    """Kills of the runs on one target that are yet to be done.

    Attributes:
        missing: the phase of each.
        num_hit: how often a phase was hit, or none as the run had ended.
    """

    def __init__(
        self,
        target: Path,
        num_kills: int,
        random_: random.Random,
        *,
        num_chunks: int,
        num_shards: int,
        chunks: Path | None = None,
        phases: Sequence[str] = PHASES,
    ) -> None:
        """Each draw is of fewer chunks and staged files than a run makes."""
        self._target, self._random = target, random_
        self._stage = work_folder(target) / "stage"
        self._chunks = chunks or work_folder(target) / "chunks"
        self._num_chunks, self._num_shards = num_chunks, num_shards
        self.missing = [*islice(cycle(phases), num_kills)]
        self.num_hit: Counter[str] = Counter()
        self._most_tries = 6 * num_kills

    def next(self) -> Callable[[Callable[[], int | None]], None]:
        """Before a run starts: what waits for the next moment, or until the run has a status."""
        self._before, phase = self._target.stat().st_ino, self.missing[0]
        of_phase: dict[str, tuple[Path, int]] = {
            AT_FIRST: (self._stage.parent, 0),
            BETWEEN: (self._chunks, self._random.randrange(1, self._num_chunks)),
            STAGING: (self._stage, self._random.randrange(self._num_shards + 1)),
        }
        blink_seconds = 0.01 ** self._random.uniform(1, 2)

        def is_time() -> bool:
            if phase == PUBLISHED:
                return self._is_published()
            folder, number = of_phase[phase]
            return _num_files(folder) >= number

        def wait(status: Callable[[], int | None]) -> None:
            while status() is None and not is_time():
                time.sleep(0.001)
            time.sleep(blink_seconds)

        return wait

    def note(self, *, ended: bool) -> None:
        """After a run: that it was killed, or had ended by itself."""
        found = "too late" if ended else self._phase()
        self.num_hit[found] += 1
        if found in self.missing:
            self.missing.remove(found)
        assert self.num_hit.total() <= self._most_tries, f"no more tries: {self}"

    def __str__(self) -> str:
        return ", ".join(f"{number} {phase}" for phase, number in self.num_hit.items())

    def _phase(self) -> str:
        if self._is_published():
            return PUBLISHED
        if self._stage.exists():
            return STAGING
        return BETWEEN if _num_files(self._chunks) > 0 else AT_FIRST

    def _is_published(self) -> bool:
        """Folders are exchanged; where they cannot be, there is none for a moment."""
        try:
            return self._target.stat().st_ino != self._before
        except FileNotFoundError:
            return False


def _num_files(folder: Path) -> int:
    """Files under their names; -1 of what is no folder."""
    try:
        return sum(not name.startswith(".") for name in os.listdir(folder))
    except FileNotFoundError:
        return -1
