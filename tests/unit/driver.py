"""Drives a partition's logic without Kafka, like Kafka Streams' TopologyTestDriver.

It passes records in, advances the clock, commits, and keeps the output by topic and partition.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from libs.runtime.exactly_once.stage import PartitionLogic, Progress
from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.metrics import totals
from libs.runtime.records import Headers, Row


@dataclass
class FakeClock:
    """A clock that only changes when it is set."""

    time_s: float = 1_700_000_000.0

    def now_s(self) -> float:
        return self.time_s


@dataclass(frozen=True)
class FakeRecord:
    """A consumed record."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    offset: int = 0
    partition: int = 0
    topic: str = "orders"
    timestamp: int = 1_700_000_000_000
    timestamp_type: int = 0


@dataclass
class FakeOutput:
    """Keeps the records of a transaction by topic and partition."""

    partitions: int = 6
    records: dict[tuple[str, int], list[FakeRecord]] = field(default_factory=lambda: defaultdict(list))

    def partition_count(self, topic: str) -> int:
        return self.partitions

    def partition_for(self, topic: str, key: bytes | None) -> int:
        return partition_for(key, self.partitions)

    def extend(self, topic: str, partitions: Sequence[int], rows: Sequence[Row], headers: Headers) -> None:
        for partition, (key, value, timestamp_ms) in zip(partitions, rows, strict=True):
            self.send(topic, partition, key, value, timestamp_ms, headers)

    def send(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers
    ) -> None:
        log = self.records[topic, partition]
        log.append(FakeRecord(value, key, tuple(headers), len(log), partition, topic, timestamp_ms))

    def topic(self, name: str) -> list[FakeRecord]:
        """All records of a topic, partition by partition."""
        return [record for (topic, _), log in sorted(self.records.items()) if topic == name for record in log]

    def values(self, name: str) -> list[dict[str, Any]]:
        return [orjson.loads(record.value or b"null") for record in self.topic(name)]


@dataclass
class LogicDriver:
    """One partition's logic with its output; ``registry`` has the metrics of its transactions."""

    logic: PartitionLogic
    output: FakeOutput = field(default_factory=FakeOutput)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    now_s: float = 1_700_000_000.0
    position: int = 0

    def pipe(self, records: Sequence[FakeRecord]) -> None:
        """Process and commit."""
        self.logic.process(records, self.output)
        self.position += len(records)
        self.commit()

    def commit(self) -> None:
        tally = self.logic.before_commit(self.output, self.position)
        if tally is not None:
            tally.count(self.now_s)

    @property
    def committed(self) -> dict[str, float]:
        """The counts of the transactions so far."""
        return totals(self.registry)

    def idle(self, confirmed_at_s: Iterable[float], position: int = 10, *, source_started: bool = True) -> None:
        """Punctuate at these times without input; commits if the logic is urgent."""
        for moment_s in confirmed_at_s:
            self.logic.punctuate(Progress(position, position, moment_s, source_started))
            if self.logic.urgent:
                self.commit()


def order(number: int = 0, /, **fields: object) -> dict[str, Any]:
    """A valid order with changed ``fields``; a field with the value ``...`` is left out."""
    valid: dict[str, Any] = {
        "order_id": f"order-{number}",
        "user_id": "user-1",
        "product_id": "prod-1",
        "amount": 12.34,
        "timestamp": 1_700_000_000.0 + number,
    }
    return {name: value for name, value in {**valid, **fields}.items() if value is not ...}


def order_record(number: int = 0, /, **fields: object) -> FakeRecord:
    return FakeRecord(orjson.dumps(order(number, **fields)), key=b"order-%d" % number, offset=number)
