"""The verification, step by step.

What a running pipeline writes meanwhile must not look like damage. So the ends of the topics are taken in an order in
which each explains the one before: a metric, the orders it may hold, the late orders among those, their sources.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.errors import KafkaError

from libs.runtime.errors import PipelineError
from verification.judge import Judge, read_catalogue
from verification.ledger import Ledger, Source
from verification.marks import Marks
from verification.output_file import read_lines
from verification.report import Damage, Report
from verification.sizes import SizeLimits, size_limits
from verification.topic_reader import Offsets, Record, TopicReader
from verification.windows import Metric, Window, WindowSums, check_lines, check_metrics, read_metric_record

CATALOGUE = Path(__file__).resolve().parents[1] / "services" / "processor" / "catalogue.json"

_POLL_S = 0.5


async def verify(
    bootstrap: str,
    *,
    topic_prefix: str = "",
    output: Path | None = None,
    window_seconds: int = 60,
    wait_closed_s: float | None = None,
    settle_s: float = 30.0,
    catalogues: Sequence[Path] = (CATALOGUE,),
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Compare what the pipeline wrote with what it had to write.

    Args:
        bootstrap: host:port of the broker.
        topic_prefix: the pipeline's ``TOPIC_PREFIX``.
        output: the sink's file; None compares the topics only.
        window_seconds: the pipeline's ``WINDOW_SECONDS``.
        wait_closed_s: wait this long for every window to close and to reach the file; None takes open ones as they are.
        settle_s: how long each stage may take to catch up with the one before.
        catalogues: those that the processor has had since the first order, in any order.
        progress: is told what is being done.

    Raises:
        PipelineError: there is no broker, topic or catalogue, or records have been deleted, so that nothing is proved.
    """
    judge = Judge(*map(read_catalogue, catalogues))
    try:
        async with TopicReader(bootstrap) as reader:
            run = _Run(reader, topic_prefix, window_seconds, settle_s, judge, progress)
            return await run.all(output, wait_closed_s)
    except KafkaError as error:
        raise PipelineError(f"the broker went away: {error!r}", advice="try again once it is back") from error


@dataclass
class _Run:
    reader: TopicReader
    prefix: str
    window_seconds: int
    settle_s: float
    judge: Judge
    progress: Callable[[str], None]
    report: Report = field(default_factory=Report)

    async def all(self, output: Path | None, wait_closed_s: float | None) -> Report:
        deadline_s = time.monotonic() + (wait_closed_s or 0.0)
        orders = self.prefix + "orders"
        await self._refuse_if_deleted(orders)
        snapshot = await self.reader.ends(orders)
        sums = WindowSums(self.window_seconds)
        ledger = Ledger(self.judge, sums, snapshot, self.report, await self._sizes())

        caught_up = await self._caught_up("processor", orders, snapshot)
        old_dead_letters_end = await self._settled_ends("orders-dlq")
        old_orders_end = await self.reader.ends(orders)
        await self._add_orders(ledger, {}, old_orders_end)
        await self._add_dead_letters(ledger, {}, old_dead_letters_end)
        if caught_up:
            ledger.settle(only_due=True)
        due = sums.windows()
        if wait_closed_s is not None:
            await self._wait_until_closed(sums, deadline_s)

        metrics_end = await self._ends("product-metrics")
        processed_snapshot = await self._settled_ends("processed-orders")
        await self._caught_up("analytics", self.prefix + "processed-orders", processed_snapshot)
        late_end = await self._settled_ends("late-orders")
        newer_metrics_end = await self._settled_ends("product-metrics")
        dead_letters_end = await self._settled_ends("orders-dlq")
        processed_end = await self._ends("processed-orders")
        await self._add_orders(ledger, old_orders_end, await self.reader.ends(orders))
        await self._add_dead_letters(ledger, old_dead_letters_end, dead_letters_end)
        ledger.settle()
        closed = await self._add_processed(ledger, sums, late_end, processed_snapshot, processed_end)
        ledger.close()
        metrics = await self._metrics({}, metrics_end, self.report)
        newer = await self._metrics(metrics_end, newer_metrics_end, self.report)
        check_metrics(sums, metrics, {metric.window for metric in newer}, closed, self.report)
        if wait_closed_s is not None:
            for product, start in sorted(due & sums.expected().keys() - {each.window for each in (*metrics, *newer)}):
                self.report.found(Damage.NOT_CLOSED, f"{product} from {start}")
        if output:
            await self._check_file(output, Counter(metrics + newer), newer_metrics_end, deadline_s)
        return self.report

    async def _ends(self, topic: str) -> Offsets:
        return await self.reader.ends(self.prefix + topic)

    async def _sizes(self) -> SizeLimits:
        topics = ("processed-orders", "late-orders", "orders-dlq")
        return size_limits(*[await self.reader.max_message_bytes(self.prefix + topic) for topic in topics])

    async def _settled_ends(self, topic: str) -> Offsets:
        return await self.reader.settled_ends(self.prefix + topic)

    async def _refuse_if_deleted(self, topic: str) -> None:
        deleted = {partition: begin for partition, begin in (await self.reader.begins(topic)).items() if begin}
        if deleted:
            raise PipelineError(
                f"{topic} no longer has its first records (begins at {deleted})",
                advice="retention has deleted them: verify sooner, or start afresh",
            )

    async def _caught_up(self, group: str, topic: str, ends: Offsets) -> bool:
        due = await self.reader.record_ends(topic, ends)
        deadline_s = time.monotonic() + self.settle_s
        while True:
            committed = await self.reader.committed(self.prefix + group, topic)
            behind = sum(max(0, end - committed.get(partition, 0)) for partition, end in due.items())
            if not behind:
                return True
            if time.monotonic() > deadline_s:
                self.report.found(Damage.BEHIND, f"{group} is {behind:,} records behind the end of {topic}")
                return False
            self.progress(f"{group} still has {behind:,} records of {topic} to read")
            await asyncio.sleep(_POLL_S)

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
        """Match the processed and late orders; returns which windows analytics must have closed."""
        late = await self._add_late(ledger, sums, late_end)
        known_marks, all_marks, partition_of, count = Marks(), Marks(), dict[str, int](), 0
        async for records in self.reader.read(self.prefix + "processed-orders", {}, ends):
            for record in records:
                read_by_analytics = record.offset < snapshot[record.partition]
                if ("type", b"watermark") in record.headers:
                    self._add_mark(record, [known_marks, all_marks] if read_by_analytics else [all_marks])
                elif order := ledger.add_processed(record.value, read_by_analytics=read_by_analytics):
                    partition_of[order.product_id] = record.partition
            count += len(records)
            self.progress(f"processed-orders: {count:,} read")

        def passed(marks: Marks, window: Window) -> bool:
            product, start = window
            return product in partition_of and start + self.window_seconds <= marks.passed_s(partition_of[product])

        for window in sorted(late):
            if not passed(all_marks, window):
                self.report.found(Damage.LATE_TOO_EARLY, f"{window[0]} from {window[1]}")
        return {window: passed(known_marks, window) for window in sums.windows()}

    async def _add_late(self, ledger: Ledger, sums: WindowSums, ends: Offsets) -> set[Window]:
        late: set[Window] = set()
        async for records in self.reader.read(self.prefix + "late-orders", {}, ends):
            orders = [ledger.add_late(record.value) for record in records]
            late.update(sums.window_of(order) for order in orders if order)
        return late

    def _add_mark(self, record: Record, marks: list[Marks]) -> None:
        try:
            for each in marks:
                each.add(record.partition, record.value)
        except ValueError as error:
            self.report.found(Damage.UNREADABLE, f"processed-orders: {record.value!r}: {error}"[:300])

    async def _metrics(self, begins: Offsets, ends: Offsets, report: Report) -> list[Metric]:
        metrics: list[Metric] = []
        async for records in self.reader.read(self.prefix + "product-metrics", begins, ends):
            for record in records:
                try:
                    metrics.append(read_metric_record(record.key, record.value, self.window_seconds))
                except ValueError as error:
                    report.found(Damage.METRIC_MALFORMED, f"{record.value!r}: {error}"[:300])
        return metrics

    async def _wait_until_closed(self, sums: WindowSums, deadline_s: float) -> None:
        """Wait until each window has a metric, or has late orders only."""
        unused = Report()  # what is read here is read again, and judged then
        closed: set[Window] = set()
        late = WindowSums(self.window_seconds)
        late_orders = Ledger(self.judge, late, {}, unused)
        metrics_read: Offsets = {}
        late_read: Offsets = {}
        while True:
            ends = await self._ends("product-metrics")
            closed.update(metric.window for metric in await self._metrics(metrics_read, ends, unused))
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
                if late.accepted_in(window).orders < sums.accepted_in(window).orders
            ]
            left_s = deadline_s - time.monotonic()
            if not still_open or left_s < 0:
                return
            self.progress(f"{len(still_open):,} windows still open, waiting for {left_s:.0f} s at most")
            await asyncio.sleep(min(_POLL_S, left_s))

    async def _check_file(self, path: Path, metrics: Counter[Metric], ends: Offsets, deadline_s: float) -> None:
        deadline_s = max(deadline_s, time.monotonic() + self.settle_s)
        while missing := (metrics - read_lines(path, self.window_seconds)).total():
            if time.monotonic() > deadline_s:
                break
            self.progress(f"{missing:,} metrics not yet in {path}")
            await asyncio.sleep(_POLL_S)
        lines = read_lines(path, self.window_seconds, self.report)
        newer = await self._metrics(ends, await self._ends("product-metrics"), self.report)
        check_lines(lines, metrics, Counter(newer), self.report)
