"""Input records and an output for a partition's logic, without Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from libs.runtime.kafka_client.partitioning import partition_for
from libs.runtime.records import LOG_APPEND_TIME, Headers, Row
from tests.fuzz.mutations import pick
from tests.unit.driver import FakeRecord

PARTITIONS = 6
NOW_S = 1_700_000_000.0
LONG_KEY = b"k" * 200_000

RecordHeaders = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Sent:
    """One record that was written."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: RecordHeaders


class Outbox:
    """An ``Output`` that keeps the sent records in order."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def partition_count(self, topic: str) -> int:
        return PARTITIONS

    def partition_for(self, topic: str, key: bytes | None) -> int:
        return partition_for(key, PARTITIONS)

    def extend(self, topic: str, partitions: Sequence[int], rows: Sequence[Row], headers: Headers) -> None:
        for partition, (key, value, timestamp_ms) in zip(partitions, rows, strict=True):
            self.send(topic, partition, key, value, timestamp_ms, headers)

    def send(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers
    ) -> None:
        assert all(type(name) is str and type(content) in (bytes, type(None)) for name, content in headers)
        self.sent.append(Sent(topic, partition, key, value, timestamp_ms, tuple(headers)))

    def take(self) -> list[Sent]:
        sent, self.sent = self.sent, []
        return sent


def any_record(random: Random, value: bytes | None, offset: int, headers: RecordHeaders | None = None) -> FakeRecord:
    """A record with ``value``, and with a random key, headers and timestamp that Kafka accepts."""
    stamped_by_broker = random.randrange(2)
    sender_says = pick(random, (int(NOW_S * 1000), 0, -1, 2**53, -(2**63), 2**63 - 1))
    return FakeRecord(
        value,
        key=_any_key(random),
        headers=_any_headers(random) if headers is None else headers,
        offset=offset,
        partition=random.randrange(PARTITIONS),
        topic=pick(random, ("orders", "a-prefix.orders")),
        timestamp=int(NOW_S * 1000) - random.randrange(60_000) if stamped_by_broker else sender_says,
        timestamp_type=LOG_APPEND_TIME if stamped_by_broker else 0,
    )


def _any_key(random: Random) -> bytes | None:
    chance = random.random()
    if chance < 0.3:
        return None
    if chance < 0.3001:
        return LONG_KEY
    return pick(random, (b"", b"\x00", b"\xff\xfe", b"order-1", random.randbytes(32), random.randbytes(5)))


def _any_headers(random: Random) -> RecordHeaders:
    if random.random() < 0.7:
        return ()
    names = ("type", "traceparent", "", "error.reason", "source.offset", "\u00fc", "x" * 300)
    values = (b"", b"order", b"watermark", b"\xff", b"x" * 300, None)
    return tuple((pick(random, names), pick(random, values)) for _ in range(pick(random, (1, 2, 20))))
