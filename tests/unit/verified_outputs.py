"""A small pipeline's topics and outputs, all correct, which tests can damage and verify."""

import json
from collections import Counter
from dataclasses import dataclass, field

from verification.ledger import Ledger
from verification.metric_comparison import check_metrics
from verification.metrics import Metric
from verification.output_damage import check_output
from verification.output_file import LINES
from verification.packed_order import Source
from verification.reference_processor import ReferenceProcessor
from verification.report import Report
from verification.window_sums import WindowSums

REFERENCE = ReferenceProcessor({"prod-1": {"product_name": "Lamp"}, "prod-2": {"product_name": "Desk"}})
NOW_S = 1_700_000_400.0
START = 1_700_000_040
SNAPSHOT = {0: 4, 1: 4}
SENDERS, BROKERS = 0, 1


def order(order_id: str, amount: float = 1.25, product: str = "prod-1", at_s: float = START + 1) -> dict[str, object]:
    return {"order_id": order_id, "user_id": "u", "product_id": product, "amount": amount, "timestamp": at_s}


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def enriched(fields: dict[str, object]) -> bytes:
    return dump(fields | {"product_name": {"prod-1": "Lamp", "prod-2": "Desk"}[str(fields["product_id"])]})


@dataclass(frozen=True)
class DeadLetter:
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 1_700_000_100_000
    topic: str = "orders"
    partition: int = 1

    @property
    def headers(self) -> dict[str, bytes]:
        return {
            "error.reason": self.reason.encode(),
            "source.topic": self.topic.encode(),
            "source.partition": b"%d" % self.partition,
            "source.offset": b"%d" % self.offset,
        }


LATE = order("late", 9.99)


@dataclass
class Outputs:
    """Partition 0 has four orders, one of them late; partition 1 two faulty records, then the same order twice."""

    orders: list[bytes | None] = field(
        default_factory=lambda: [
            dump(order("a")),
            dump(order("b", 0.02)),
            dump(LATE),
            dump(order("c", 5, "prod-2", START + 60)),
        ]
    )
    others: list[bytes | None] = field(
        default_factory=lambda: [b"{", dump(order("x", 0)), dump(order("twin")), dump(order("twin"))]
    )
    newer: list[bytes | None] = field(default_factory=lambda: [dump(order("new", 7, "prod-2", START + 61))])
    processed: list[bytes] = field(
        default_factory=lambda: [
            enriched(each)
            for each in (
                order("b", 0.02),
                order("twin"),
                order("c", 5, "prod-2", START + 60),
                order("a"),
                order("twin"),
                LATE,
            )
        ]
    )
    processed_newer: list[bytes] = field(default_factory=list)
    dead: list[DeadLetter] = field(
        default_factory=lambda: [
            DeadLetter(0, "malformed", b"k", b"{"),
            DeadLetter(1, "invalid_amount", b"k", dump(order("x", 0))),
        ]
    )
    late: list[bytes] = field(default_factory=lambda: [enriched(LATE)])
    metrics: list[Metric] = field(default_factory=lambda: [Metric(START, START + 60, "prod-1", 4, 377, 94)])
    lines: list[Metric] = field(default_factory=lambda: [Metric(START, START + 60, "prod-1", 4, 377, 94)])
    snapshot: dict[int, int] = field(default_factory=lambda: SNAPSHOT)
    passed: bool = False
    passed_s: dict[int, float] = field(default_factory=dict)
    """The event time at each of ``processed``, by index, where it matters."""
    timestamp_type: int = SENDERS
    newer_metrics: list[Metric] = field(default_factory=list)

    def verify(self) -> Report:
        report, sums = Report(), WindowSums(60)
        ledger = Ledger(REFERENCE, sums, self.snapshot, report)
        for partition, values in ((0, [*self.orders, *self.newer]), (1, self.others)):
            for offset, value in enumerate(values):
                ledger.add_source(
                    Source(partition, offset),
                    b"k",
                    value,
                    1_700_000_100_000,
                    NOW_S,
                    timestamp_type=self.timestamp_type,
                )
        for letter in self.dead:
            ledger.add_dead_letter(letter.headers, "orders", letter.key, letter.value, letter.timestamp_ms)
        ledger.settle()
        for value in self.late:
            ledger.add_late(value)
        for index, value in enumerate(self.processed):
            ledger.add_processed(value, read_by_analytics=True, passed_s=self.passed_s.get(index, NOW_S))
        for value in self.processed_newer:
            ledger.add_processed(value, read_by_analytics=False)
        ledger.close()
        closed = {window: self.passed or window[1] == START for window in sums.windows()}
        check_metrics(sums, self.metrics, {metric.window for metric in self.newer_metrics}, closed, report)
        report.lines = len(self.lines)
        check_output(Counter(self.lines), Counter(self.metrics), Counter(self.newer_metrics), LINES, report)
        return report
