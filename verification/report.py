"""The result of a verification."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_EXAMPLES = 5


class Damage(StrEnum):
    """The kinds of difference between the actual and the expected content of the topics."""

    LOST = "order neither in processed-orders nor in orders-dlq"
    DUPLICATED = "order more than once in processed-orders"
    UNEXPECTED = "processed order without a valid order in orders"
    CHANGED = "processed order whose fields differ from those of the order and the catalogue"
    UNREADABLE = "record that is not in its topic's format"
    DEAD_LETTER_LOST = "faulty record missing from orders-dlq"
    DEAD_LETTER_DUPLICATED = "faulty record more than once in orders-dlq"
    DEAD_LETTER_UNEXPECTED = "dead letter of a valid order, or without a record in orders"
    DEAD_LETTER_CHANGED = "dead letter with another key, value or timestamp than its record"
    WRONG_REASON = "dead letter with a reason that does not apply"
    LATE_UNEXPECTED = "late order that is not in processed-orders, or is there less often"
    LATE_CHANGED = "late order whose fields differ from those of the processed order"
    LATE_TOO_EARLY = "late order whose window was still open"
    WINDOW_WRONG = "metric that differs from the sum of its orders"
    WINDOW_DUPLICATED = "window of a product more than once in product-metrics"
    WINDOW_UNEXPECTED = "metric of a window without orders"
    WINDOW_MISSING = "closed window without a metric"
    METRIC_MALFORMED = "metric that violates the contract"
    NOT_CLOSED = "window still open after the timeout"
    LINE_MISSING = "metric missing from the file"
    LINE_DUPLICATED = "metric more than once in the file"
    LINE_UNEXPECTED = "line of the file that is no metric of the topic"
    LINE_MALFORMED = "line of the file that violates the contract"
    LINE_BEHIND = "file whose sink had not caught up within the timeout"
    ROW_MISSING = "metric missing from the database"
    ROW_DUPLICATED = "metric more than once in the database"
    ROW_UNEXPECTED = "row of the database that is no metric of the topic"
    ROW_MALFORMED = "row of the database that violates the contract"
    ROW_BEHIND = "database whose sink had not caught up within the timeout"
    BEHIND = "stage that had not caught up within the timeout"


class NotVerified(StrEnum):
    """Counts of what cannot be verified because topics or files no longer have their first records."""

    ORDER = "order that was deleted, or is older than those that are verified"
    OUTCOME = "order without a result in the topics, which may have deleted it"
    PROCESSED = "processed order whose order is gone"
    DEAD_LETTER = "dead letter whose record is gone"
    LATE = "late order whose order is gone"
    WINDOW = "window of which orders, late orders or the metric may be gone"
    LINE = "metric that was in a finished file, if that was moved away"
    METRIC = "line of the file, or row of the database, whose metric is gone from the topic"


@dataclass
class Report:
    """Counts of the orders that existed when the verification began, and all differences found.

    Orders that the processor has not read, if it is behind, are in no count, and those that the analytics has not read in none of windows.
    ``accepted``, ``in_closed_windows``, ``in_open_windows`` and ``late`` also count orders that arrived later and were
    processed before the metrics were read; in a stopped pipeline there are none.
    """

    sent: int = 0
    processed: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    in_closed_windows: int = 0
    in_open_windows: int = 0
    late: int = 0
    closed_windows: int = 0
    open_windows: int = 0
    wrong_windows: list[tuple[str, int]] = field(default_factory=list)
    """(product, window start in epoch seconds) of each metric that is wrong, missing, duplicated, or has no orders."""
    lines: int | None = None
    """Lines of the files that were compared; None when no file was."""
    rows: int | None = None
    """Rows of the database that were compared; None when no database was."""
    not_verified: Counter[NotVerified] = field(default_factory=Counter)
    """What could not be verified; no difference."""
    damage: Counter[Damage] = field(default_factory=Counter)
    examples: dict[Damage, list[str]] = field(default_factory=dict)
    may_lack_catalogue: bool = False
    """Whether a difference is what a catalogue would explain that the processor has had and the verification has not."""

    @property
    def ok(self) -> bool:
        return not self.damage

    @property
    def lost(self) -> int:
        return self.damage[Damage.LOST] + self.damage[Damage.DEAD_LETTER_LOST]

    @property
    def duplicated(self) -> int:
        return self.damage[Damage.DUPLICATED] + self.damage[Damage.DEAD_LETTER_DUPLICATED]

    def found(self, damage: Damage, example: str, count: int = 1, *, may_lack_catalogue: bool = False) -> None:
        """Add ``count`` differences of a kind; the first few are kept as examples."""
        self.damage[damage] += count
        self.may_lack_catalogue = self.may_lack_catalogue or may_lack_catalogue
        examples = self.examples.setdefault(damage, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(example)

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "ok": self.ok,
            "sent": self.sent,
            "processed": self.processed,
            "dead_letters": dict(sorted(self.dead_letters.items())),
            "accepted": self.accepted,
            "in_closed_windows": self.in_closed_windows,
            "in_open_windows": self.in_open_windows,
            "late": self.late,
            "closed_windows": self.closed_windows,
            "open_windows": self.open_windows,
            "lines": self.lines,
            "rows": self.rows,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "wrong_windows": self.wrong_windows,
            "not_verified": {
                kind.name.lower(): {"meaning": kind.value, "count": count} for kind, count in self.not_verified.items()
            },
            "damage": {
                kind.name.lower(): {"meaning": kind.value, "count": count, "examples": self.examples[kind]}
                for kind, count in self.damage.items()
            },
        }
