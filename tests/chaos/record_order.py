"""Checks during faults that a read_committed consumer gets the records of each partition in order."""

from collections import Counter
from collections.abc import Sequence

import orjson

from libs.events.watermarks import TYPE_HEADER, WATERMARK_HEADERS
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import Record

_MAX_EXAMPLES = 5
_WATERMARK = dict(WATERMARK_HEADERS)[TYPE_HEADER]


class RecordOrder:
    """Checks the records of `processed-orders` as they arrive.

    Offsets increase in each partition, no order occurs twice, and orders of one partition of `orders` keep the order in which
    one generator has sent them, so their event times increase. That partition follows from the record's key, the order's id.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._offsets: dict[int, int] = {}
        self._times_s: dict[tuple[int, int], float] = {}
        self._seen: set[str] = set()
        self._problems: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self.orders = 0
        """The number of checked records."""

    def add(self, partition: int, records: Sequence[Record]) -> None:
        """Check the next records of ``partition``."""
        for record in records:
            if record.offset <= self._offsets.get(partition, -1):
                self._note("offsets that go back", f"partition {partition}: {record.offset}")
            self._offsets[partition] = record.offset
            if dict(record.headers).get(TYPE_HEADER) != _WATERMARK:
                self._add_order(partition, orjson.loads(record.value or b""))

    def problems(self) -> list[str]:
        """A line for each kind of problem."""
        return [
            f"a committed reader saw {kind} {count:,} times, for example {'; '.join(self._examples[kind])}"
            for kind, count in self._problems.items()
        ]

    def _add_order(self, partition: int, order: dict[str, object]) -> None:
        self.orders += 1
        order_id, time_s = str(order["order_id"]), float(str(order["timestamp"]))
        if order_id in self._seen:
            self._note("an order twice", order_id)
        self._seen.add(order_id)
        route = partition_for(order_id.encode(), self._partitions), partition
        if time_s < self._times_s.get(route, 0.0):
            self._note("orders of one partition in another order than they were sent in", order_id)
        self._times_s[route] = time_s

    def _note(self, kind: str, example: str) -> None:
        self._problems[kind] += 1
        examples = self._examples.setdefault(kind, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(example)
