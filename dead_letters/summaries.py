"""The results of ``list``: a summary for each reason, or the newest letters of one."""

import heapq
from dataclasses import dataclass, field

from dead_letters.dead_letter import DeadLetter, Place
from verification.topic_reader import Offsets


@dataclass(frozen=True)
class ListEnd:
    """Where a list of letters ended: the ``offsets`` by partition are valid in that cluster only."""

    cluster_id: str
    offsets: Offsets


@dataclass
class ReasonSum:
    """The summary of the letters of one reason; times are their orders' arrival times in epoch milliseconds."""

    newest: DeadLetter
    letters: int = 0
    replayed: int = 0
    first_ms: int = field(init=False)

    def __post_init__(self) -> None:
        self.first_ms = self.newest.timestamp_ms

    def add(self, letter: DeadLetter, *, replayed: bool) -> None:
        self.letters += 1
        self.replayed += replayed
        self.first_ms = min(self.first_ms, letter.timestamp_ms)
        if letter.timestamp_ms >= self.newest.timestamp_ms:
            self.newest = letter


class ByReason:
    """A summary for each reason."""

    def __init__(self) -> None:
        self.sums: dict[str, ReasonSum] = {}

    def add(self, letter: DeadLetter, *, replayed: bool) -> None:
        """Add one letter."""
        if letter.reason not in self.sums:
            self.sums[letter.reason] = ReasonSum(letter)
        self.sums[letter.reason].add(letter, replayed=replayed)


class Newest:
    """The newest ``limit`` letters, and how many there were."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._heap: list[tuple[int, Place, DeadLetter, bool]] = []

    def add(self, letter: DeadLetter, *, replayed: bool) -> None:
        """Add one letter."""
        self.count += 1
        entry = (letter.timestamp_ms, letter.place, letter, replayed)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def letters(self) -> list[tuple[DeadLetter, bool]]:
        """The letters and whether each was replayed, oldest first."""
        return [(letter, replayed) for _, _, letter, replayed in sorted(self._heap)]
