"""``python -m benchmarks.pieces``: CPU time per order of each piece of a stage's work, in isolation and without a broker."""

import gc
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry
from rich.console import Console

from benchmarks.orders import CATALOGUE, Item, make_workload, processed
from benchmarks.report import table
from libs.events.dead_letters import Reason
from libs.events.processed_orders import decode_sold_product
from libs.events.watermarks import ORDER_HEADERS
from libs.runtime.clock import SystemClock
from libs.runtime.exactly_once.stage import BATCH_SIZE
from libs.runtime.kafka_client.lazy_records import LazyResults, in_batches
from libs.runtime.records import Headers
from libs.runtime.transactions.record_batches import MAX_BATCH_BYTES, OutputBuffer
from services.analytics.analytics_partition import AnalyticsPartition
from services.analytics.window_metrics import WindowMetrics
from services.processor.catalogue import continued, make_product
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_metrics import OrderMetrics
from services.processor.order_partition import OrderPartition
from services.processor.plain_orders import read_plain_order
from services.processor.replica_watermark import ReplicaWatermark
from services.processor.source_watermark import SourceWatermark

_ORDERS = 20_000
_ROUNDS = 200
_PROCESSOR_BATCH_SIZE = 50
_RECORDS_A_BATCH = 400
_PARTITION = TopicPartition("any", 0)
_PARTITIONS = {"processed-orders": 6, "orders-dlq": 6, "product-metrics": 6, "late-orders": 6}

console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)


class _Assignment:
    """The part of a consumer's assignment that a fetch result uses."""

    active, paused = True, False

    def __init__(self, position: int) -> None:
        self.position = position

    def state_value(self, _: TopicPartition) -> "_Assignment":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


@dataclass
class _Fetches:
    """Fetch responses as from a broker."""

    batches: list[bytes]
    stage_batch_size: int

    def read(self) -> Iterator[list[Any]]:
        """The records in batches, as the stage's worker gets them."""
        records = PartitionRecords(
            _PARTITION, MemoryRecords(b"".join(self.batches)), [], 0, None, None, check_crcs=True, isolation_level=1
        )
        results, assignment = LazyResults(), _Assignment(0)
        results[_PARTITION] = FetchResult(_PARTITION, assignment=assignment, partition_records=records, backoff=0)
        return in_batches(results[_PARTITION].getall(), self.stage_batch_size)


def main() -> None:
    """Measure, print two tables."""
    workload = make_workload(_ORDERS, 1, time.time())
    enriched = processed(workload)[: workload.valid]
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    for stage, pieces, count in (
        ("processor", _processor(_fetched(workload.orders, [], _PROCESSOR_BATCH_SIZE)), _ORDERS),
        ("analytics", _analytics(_fetched(enriched, ORDER_HEADERS, BATCH_SIZE)), len(enriched)),
    ):
        rows = [[name, f"{took_ns / count:,.0f}"] for name, took_ns in _smallest_ns(pieces).items()]
        console.print(table(f"{stage}, alone", ("", "ns an order"), rows))


def _smallest_ns(pieces: Mapping[str, Callable[[], object]]) -> dict[str, int]:
    """The minimum CPU time of each piece over many rounds that take turns, since a shared host has slow minutes."""
    smallest: dict[str, int] = {}
    for _ in range(_ROUNDS):
        for name, piece in pieces.items():
            since_ns = time.process_time_ns()
            piece()
            took_ns = time.process_time_ns() - since_ns
            smallest[name] = min(took_ns, smallest.get(name, took_ns))
    return smallest


def _processor(fetches: _Fetches) -> dict[str, Callable[[], object]]:
    now_s, product = time.time(), make_product("prod-1", CATALOGUE["prod-1"])
    values = [record.value for batch in fetches.read() for record in batch if read_plain_order(record.value, now_s)]
    rows = [(product.key, continued(value, product.closing_json), 0) for value in values]
    catalogue = {name: make_product(name, fields) for name, fields in CATALOGUE.items()}
    metrics = OrderMetrics(CollectorRegistry(), Reason)

    def whole() -> None:
        clock = SystemClock()
        watermark, lag = SourceWatermark(5.0, 10.0), EventTimeLag("orders", None, clock)
        logic = OrderPartition("orders", 0, catalogue, watermark, ReplicaWatermark(6, 60), lag, clock, metrics)
        output = OutputBuffer(_PARTITIONS)
        for batch in fetches.read():
            logic.process(batch, output)

    def appended() -> None:
        output = OutputBuffer(_PARTITIONS)
        for start in range(0, len(rows), _PROCESSOR_BATCH_SIZE):
            batch = rows[start : start + _PROCESSOR_BATCH_SIZE]
            output.extend("processed-orders", [number % 6 for number in range(len(batch))], batch, ORDER_HEADERS)

    return {
        "all": whole,
        "reading": lambda: _each(len, fetches.read()),
        "  of it checksums": lambda: _each(calc_crc32c, fetches.batches),
        "the quick look": lambda: _each(read_plain_order, values, repeat(now_s)),
        "  of it a field named twice": lambda: _each(bytes.count, values, repeat(b":")),
        "continuing the text": lambda: _each(continued, values, repeat(product.closing_json)),
        "appending": appended,
    }


def _analytics(fetches: _Fetches) -> dict[str, Callable[[], object]]:
    values = [record.value for batch in fetches.read() for record in batch]
    metrics = WindowMetrics(CollectorRegistry())

    def whole() -> None:
        logic = AnalyticsPartition("processed-orders", 0, 60, SystemClock(), metrics)
        output = OutputBuffer(_PARTITIONS)
        for batch in fetches.read():
            logic.process(batch, output)

    return {
        "all": whole,
        "reading": lambda: _each(len, fetches.read()),
        "  of it checksums": lambda: _each(calc_crc32c, fetches.batches),
        "decoding product, time and amount": lambda: _each(decode_sold_product, values),
    }


def _each(function: Callable[..., object], *arguments: Iterable[Any]) -> None:
    deque(map(function, *arguments), maxlen=0)


def _fetched(items: Sequence[Item], headers: Headers, stage_batch_size: int) -> _Fetches:
    now_ms, batches = int(time.time() * 1000), []
    for start in range(0, len(items), _RECORDS_A_BATCH):
        builder: Any = DefaultRecordBatchBuilder(2, 0, 1, -1, -1, -1, MAX_BATCH_BYTES)
        for number, item in enumerate(items[start : start + _RECORDS_A_BATCH]):
            builder.append(number, now_ms, item.key, item.value, headers)
        batch = bytearray(builder.build())
        struct.pack_into(">q", batch, 0, start)  # as the broker does; the checksum excludes it
        batches.append(bytes(batch))
    return _Fetches(batches, stage_batch_size)


if __name__ == "__main__":
    main()
