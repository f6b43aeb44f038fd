"""The verification, step by step.

Records that a running pipeline writes meanwhile must not be reported as damage. So the ends of the topics are read in an
order in which each explains the previous one: metrics, the orders in them, the late orders among those, their sources.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError

from libs.runtime.kafka_client.clients import Kafka
from verification.history import WHOLE, History, find_history
from verification.ledger import Ledger
from verification.metric_comparison import check_metrics
from verification.metrics_topic import MetricsTopic
from verification.output_database import OutputDatabase
from verification.outputs import OutputComparison
from verification.packed_order import Source
from verification.reference_processor import ReferenceProcessor, read_catalogue
from verification.report import Damage, NotVerified, Report
from verification.topic_reader import Offsets, Record, TopicReader, reading_failed
from verification.watermarks import Watermarks
from verification.window_sums import Window, WindowSums

CATALOGUE = Path(__file__).resolve().parents[1] / "services" / "processor" / "catalogue.json"

_POLL_S = 0.5


async def verify(  # noqa: PLR0913 - all except the first are keyword arguments
    kafka: Kafka,
    *,
    topic_prefix: str = "",
    output: Path | None = None,
    database: OutputDatabase | None = None,
    window_seconds: int = 60,
    wait_closed_s: float | None = None,
    settle_s: float = 30.0,
    catalogues: Sequence[Path] = (CATALOGUE,),
    progress: Callable[[str], None] = lambda _: None,
    newest_orders: int | None = None,
) -> Report:
    """Compare what the pipeline wrote with what it should have written.

    Args:
        kafka: the cluster.
        topic_prefix: the pipeline's ``TOPIC_PREFIX``.
        output: the sink's file, if it and the finished files beside it are to be compared with the topic.
        database: the sink's database, if it is to be compared with the topic.
        window_seconds: the pipeline's ``WINDOW_SECONDS``.
        wait_closed_s: wait this long for every window to close and to reach the outputs; None takes open ones as they are.
        settle_s: how long each stage may take to catch up with the one before.
        catalogues: the catalogues that the processor has had since the first order, in any order.
        progress: called with the current step.
        newest_orders: read only about so many of the newest orders, which limits the memory; None reads all.

    Raises:
        PipelineError: there is no broker, topic or catalogue, so nothing can be verified.
    """
    reference = ReferenceProcessor(*map(read_catalogue, catalogues))
    try:
        async with TopicReader(kafka) as reader:
            run = _Run(reader, topic_prefix, window_seconds, settle_s, reference, progress, newest_orders)
            return await run.all(output, database, wait_closed_s)
    except KafkaError as error:
        raise reading_failed(error) from error


@dataclass
class _Run:
    reader: TopicReader
    prefix: str
    window_seconds: int
    settle_s: float
    reference: ReferenceProcessor
    progress: Callable[[str], None]
    newest_orders: int | None
    report: Report = field(default_factory=Report)
    history: History = WHOLE

    async def all(self, output: Path | None, database: OutputDatabase | None, wait_closed_s: float | None) -> Report:
        deadline_s = time.monotonic() + (wait_closed_s or 0.0)
        orders = self.prefix + "orders"
        self.history = await find_history(self.reader, self.prefix, self.newest_orders)
        begins = self.history.begins["orders"]
        if gone := sum(begins.values()):
            self.report.not_verified[NotVerified.ORDER] += gone
        snapshot = await self._read_by("processor", "orders", ["processed-orders", "orders-dlq"])
        sums = WindowSums(self.window_seconds)
        ledger = Ledger(self.reference, sums, snapshot, self.report, self.history)

        old_dead_letters_end = await self._settled_ends("orders-dlq")
        old_orders_end = await self.reader.ends(orders)
        await self._add_orders(ledger, begins, old_orders_end)
        await self._add_dead_letters(ledger, self.history.begins["orders-dlq"], old_dead_letters_end)
        ledger.settle(only_due=True)
        due = {window for window in sums.windows() if self._is_judged(window)}
        if wait_closed_s is not None:
            await self._wait_until_closed(sums, deadline_s)

        metrics_end = await self._metrics_topic.ends()
        processed_snapshot = await self._read_by("analytics", "processed-orders", ["product-metrics", "late-orders"])
        late_end = await self._settled_ends("late-orders")
        newer_metrics_end = await self._settled_ends("product-metrics")
        dead_letters_end = await self._settled_ends("orders-dlq")
        processed_end = await self._ends("processed-orders")
        await self._add_orders(ledger, old_orders_end, await self.reader.ends(orders))
        await self._add_dead_letters(ledger, old_dead_letters_end, dead_letters_end)
        ledger.settle()
        closed = await self._add_processed(ledger, sums, late_end, processed_snapshot, processed_end)
        ledger.close()
        topic = self._metrics_topic
        metrics = await topic.metrics(self.history.begins["product-metrics"], metrics_end, self.report)
        newer = await topic.metrics(metrics_end, newer_metrics_end, self.report)
        check_metrics(sums, metrics, {metric.window for metric in newer}, closed, self.report, self.history)
        if wait_closed_s is not None:
            for product, start in sorted(due & sums.expected().keys() - {each.window for each in (*metrics, *newer)}):
                self.report.found(Damage.NOT_CLOSED, f"{product} from {start}")
        outputs = OutputComparison(topic, self.prefix, self.settle_s, self.progress, self.report, self.history)
        await outputs.check(output, database, metrics + newer, newer_metrics_end, deadline_s)
        return self.report

    @property
    def _metrics_topic(self) -> MetricsTopic:
        return MetricsTopic(self.reader, self.prefix + "product-metrics", self.window_seconds)

    async def _ends(self, topic: str) -> Offsets:
        return await self.reader.ends(self.prefix + topic)

    async def _begins(self, topic: str) -> Offsets:
        return await self.reader.begins(self.prefix + topic)

    async def _settled_ends(self, topic: str) -> Offsets:
        return await self.reader.settled_ends(self.prefix + topic)

    async def _read_by(self, group: str, name: str, outputs: Sequence[str]) -> Offsets:
        """Wait until ``group`` has read the topic ``name`` up to its present end; returns the offsets up to which its outputs are due.

        Where it stays behind, they are due up to its committed offset. A group that has ``outputs`` and no offset has lost its offsets.
        """
        topic = self.prefix + name
        ends = await self.reader.settled_ends(topic)
        due = await self.reader.record_ends(topic, ends)
        deadline_s = time.monotonic() + self.settle_s
        while True:
            committed = await self.reader.committed(self.prefix + group, topic)
            behind = {each: end for each, end in due.items() if committed.get(each, 0) < end}
            if not behind:
                return ends
            count = sum(end - committed.get(each, 0) for each, end in behind.items())
            if time.monotonic() > deadline_s:
                break
            self.progress(f"{group} still has {count:,} records of {topic} to read")
            await asyncio.sleep(_POLL_S)
        self.report.found(Damage.BEHIND, f"{group} is {count:,} records behind the end of {topic}")
        if not committed and any([await self._ends(each) != await self._begins(each) for each in outputs]):
            return ends
        return ends | {each: committed.get(each, 0) for each in behind}

    async def _add_orders(self, ledger: Ledger, begins: Offsets, ends: Offsets) -> None:
        count, now_s = 0, time.time()
        async for records in self.reader.read(self.prefix + "orders", begins, ends):
            for record in records:
                ledger.add_source(
                    Source(record.partition, record.offset),
                    record.key,
                    record.value,
                    record.timestamp,
                    now_s,
                    timestamp_type=record.timestamp_type,
                    headers=record.headers,
                )
            count += len(records)
            self.progress(f"orders: {count:,} read")

    async def _add_dead_letters(self, ledger: Ledger, begins: Offsets, ends: Offsets) -> None:
        orders = self.prefix + "orders"
        async for records in self.reader.read(self.prefix + "orders-dlq", begins, ends):
            for record in records:
                ledger.add_dead_letter(dict(record.headers), orders, record.key, record.value, record.timestamp)

    async def _add_processed(
        self, ledger: Ledger, sums: WindowSums, late_end: Offsets, snapshot: Offsets, ends: Offsets
    ) -> dict[Window, bool]:
        """Match the processed and late orders; returns the windows that the analytics must have closed."""
        late = await self._add_late(ledger, sums, late_end)
        known_watermarks, all_watermarks, partition_of, count = Watermarks(), Watermarks(), dict[str, int](), 0
        begins = self.history.begins["processed-orders"]
        async for records in self.reader.read(self.prefix + "processed-orders", begins, ends):
            for record in records:
                read_by_analytics = record.offset < snapshot[record.partition]
                if ("type", b"watermark") in record.headers:
                    self._add_watermark(
                        record, [known_watermarks, all_watermarks] if read_by_analytics else [all_watermarks]
                    )
                elif order := ledger.add_processed(
                    record.value,
                    read_by_analytics=read_by_analytics,
                    partition=record.partition,
                    timestamp_ms=record.timestamp,
                    passed_s=float("inf") if begins[record.partition] else all_watermarks.passed_s(record.partition),
                ):
                    partition_of[order.product_id] = record.partition
            count += len(records)
            self.progress(f"processed-orders: {count:,} read")

        def passed(watermarks: Watermarks, window: Window) -> bool:
            product, start = window
            return product in partition_of and start + self.window_seconds <= watermarks.passed_s(partition_of[product])

        # Without a partition's first records, the event time at its orders is unknown. Then the event time at its end is used.
        for window in sorted(late):
            partition = partition_of.get(window[0])
            is_known = partition is not None and begins[partition] and all_watermarks.passed_s(partition) > -math.inf
            if is_known and not passed(all_watermarks, window):
                self.report.found(Damage.LATE_TOO_EARLY, f"{window[0]} from {window[1]}")
        return {window: passed(known_watermarks, window) for window in sums.windows()}

    async def _add_late(self, ledger: Ledger, sums: WindowSums, ends: Offsets) -> set[Window]:
        late: set[Window] = set()
        begins = self.history.begins["late-orders"]
        async for records in self.reader.read(self.prefix + "late-orders", begins, ends):
            orders = [ledger.add_late(record.value, record.timestamp) for record in records]
            late.update(sums.window_of(order) for order in orders if order)
        return late

    def _add_watermark(self, record: Record, watermarks: list[Watermarks]) -> None:
        try:
            for each in watermarks:
                each.add(record.partition, record.value)
        except ValueError as error:
            self.report.found(Damage.UNREADABLE, f"processed-orders: {record.value!r}: {error}"[:300])

    async def _wait_until_closed(self, sums: WindowSums, deadline_s: float) -> None:
        """Wait until each window has a metric, or has late orders only."""
        unused = Report()  # differences are reported when this is read again later
        closed: set[Window] = set()
        late = WindowSums(self.window_seconds)
        late_orders = Ledger(self.reference, late, {}, unused)
        metrics_read = dict(self.history.begins["product-metrics"])
        late_read = dict(self.history.begins["late-orders"])
        while True:
            ends = await self._metrics_topic.ends()
            closed.update(metric.window for metric in await self._metrics_topic.metrics(metrics_read, ends, unused))
            metrics_read = ends
            ends = await self._ends("late-orders")
            async for records in self.reader.read(self.prefix + "late-orders", late_read, ends):
                for order in [late_orders.add_late(record.value) for record in records]:
                    if order:
                        late.accept(order)
            late_read = ends
            still_open = [
                window
                for window in sums.windows() - closed
                if self._is_judged(window) and late.accepted_in(window).orders < sums.accepted_in(window).orders
            ]
            left_s = deadline_s - time.monotonic()
            if not still_open or left_s < 0:
                return
            self.progress(f"{len(still_open):,} windows still open, waiting for {left_s:.0f} s at most")
            await asyncio.sleep(min(_POLL_S, left_s))

    def _is_judged(self, window: Window) -> bool:
        product, start_s = window
        return self.history.has_all_orders_of(start_s) and self.history.has_metric_of(
            product, start_s + self.window_seconds
        )
