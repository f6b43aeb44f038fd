"""Reads the data of a report: the metrics of each source, the dead letters and the late orders."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError

from daily_report.closed_windows import wait_until_closed
from daily_report.moved_files import moved_with_files
from daily_report.reconciliation import TOPIC, Reconciliation, Total, reconcile
from daily_report.report import Report
from daily_report.span import Span
from daily_report.wording import retention_notes
from dead_letters.reader import letter_reader
from libs.events.processed_orders import read_processed_order
from libs.events.product_metrics import MetricRow
from libs.events.topics import LATE_ORDERS, PRODUCT_METRICS
from libs.runtime.kafka_client.clients import Kafka
from metrics_report.file_source import from_file
from metrics_report.skipped import Skipped
from metrics_report.sources import from_database, metrics_between
from metrics_report.summary import Selection
from services.sink.database.address import Address
from verification.history import History, find_metrics_missing_until_s
from verification.metrics import Metric, PlacedMetric
from verification.topic_reader import Offsets, TopicReader, reading_failed

FILE, DATABASE = "file", "database"

_POLL_S = 0.5
# An order's event time is at most a minute ahead of its arrival, and a window closes after its orders have arrived. So all
# records of a span were written after its beginning. The rest of the hour allows for clocks that differ.
_WRITTEN_BEFORE_S = 3600


@dataclass(frozen=True)
class Outputs:
    """The sink's outputs that the topic is compared with; None for one that the pipeline does not have."""

    file: Path | None
    database: Address | None


class _Topic(NamedTuple):
    """The span's metrics in the topic ``name``, each partition's in order, and those that it may have lost."""

    name: str
    placed: list[PlacedMetric]
    history: History


class _Comparison(NamedTuple):
    """How many ``lines`` of the file are no metrics, and how many metrics were in files that may have been moved away."""

    reconciliation: Reconciliation
    lines: int = 0
    moved_away: int = 0


async def gather(
    kafka: Kafka,
    *,
    topic_prefix: str,
    window_seconds: int,
    span: Span,
    outputs: Outputs,
    wait_s: float,
    progress: Callable[[str], None] = lambda _: None,
    now_s: Callable[[], float] = time.time,
) -> Report:
    """The report of ``span``.

    ``wait_s`` is how long to wait for the span's last windows to close, and then for the outputs to match the topic.

    Raises:
        PipelineError: a source cannot be read, or the span is not complete.
    """
    skipped, notes = Skipped(), list[str]()
    try:
        async with TopicReader(kafka) as reader:
            await wait_until_closed(reader, topic_prefix, span, window_seconds, wait_s, progress)
            progress("reading the topic")
            topic = await _topic_metrics(reader, topic_prefix + PRODUCT_METRICS.name, span, skipped, now_s)
            late_orders, late_are_cut = await _late_orders(
                reader, topic_prefix + LATE_ORDERS.name, span, window_seconds, now_s
            )
        dead_letters, letters_are_cut = await _dead_letters(kafka, topic_prefix, span, now_s)
    except KafkaError as error:
        raise reading_failed(error) from error
    reconciliation, no_lines, moved_away = await _settled(partial(_compare, topic, outputs, span), wait_s, progress)
    if no_metrics := skipped.count + no_lines:
        notes.append(f"{no_metrics:,} records or lines are no metrics and were left out, whatever their time.")
    notes += retention_notes(span, topic.history.latest_missing_metric_s())
    if moved_away:
        notes.append(
            f"{moved_away:,} metrics were in finished files that may have been moved away: the file lacks them."
        )
    if reconciliation.unverified:
        notes.append(
            f"{reconciliation.unverified:,} metrics are in one source only: the topic does not reach back so far any more."
        )
    for are_cut, what in ((letters_are_cut, "dead letters"), (late_are_cut, "late orders")):
        if are_cut:
            notes.append(f"There may have been more {what}: the topic does not reach back to the beginning any more.")
    return Report(span, reconciliation, dead_letters, late_orders, tuple(notes))


async def _settled(compare: Callable[[], _Comparison], wait_s: float, progress: Callable[[str], None]) -> _Comparison:
    """The result of ``compare`` once the sources agree, or after ``wait_s``."""
    deadline_s = time.monotonic() + wait_s
    while True:
        found = await asyncio.to_thread(compare)
        differences = found.reconciliation.differences
        if not differences or time.monotonic() > deadline_s:
            return found
        progress(f"waiting: the sources differ in {len(differences):,} windows")
        await asyncio.sleep(_POLL_S)


def _compare(topic: _Topic, outputs: Outputs, span: Span) -> _Comparison:
    """Compare the current outputs with the topic."""
    selection, skipped, moved = Selection(from_s=span.from_s, to_s=span.to_s), Skipped(), set[MetricRow]()
    found: dict[str, Iterable[MetricRow]] = {TOPIC: [MetricRow._make(each.metric) for each in topic.placed]}
    if outputs.file:
        advice = "give another --file, or other --outputs"
        found[FILE] = rows = [*filter(selection.has, from_file(outputs.file, selection, skipped, advice))]
        moved = moved_with_files(outputs.file, topic.name, rows, topic.placed)
    if outputs.database:
        found[DATABASE] = from_database(outputs.database, selection)

    def may_lack(source: str, row: MetricRow) -> bool:
        if source == TOPIC:
            return not topic.history.has_metric_of(row.product_id, row.window_end)
        return source == FILE and row in moved

    return _Comparison(reconcile(found, may_lack), skipped.count, len(moved))


async def _topic_metrics(
    reader: TopicReader, topic: str, span: Span, skipped: Skipped, now_s: Callable[[], float]
) -> _Topic:
    missing_until_s = await find_metrics_missing_until_s(reader, topic, await reader.begins(topic), now_s)
    ends = await reader.settled_ends(topic)
    begins = await reader.offsets_at(topic, _since_ms(span))
    placed = [
        PlacedMetric(record.partition, record.offset, Metric._make(row))
        async for record, row in metrics_between(reader, topic, begins, ends, skipped)
        if span.has_window(row.window_start)
    ]
    return _Topic(topic, placed, History(metrics_missing_until_s=missing_until_s))


async def _late_orders(
    reader: TopicReader, topic: str, span: Span, window_seconds: int, now_s: Callable[[], float]
) -> tuple[dict[str, Total], bool]:
    """The late orders by product, and whether retention may have deleted some."""
    begins = await reader.offsets_at(topic, _since_ms(span))
    ends = await reader.settled_ends(topic)
    late: dict[str, Total] = {}
    async for records in reader.read(topic, begins, ends):
        for record in records:
            try:
                product_id, event_time_s, cents = read_processed_order(record.value)
            except ValueError:
                continue  # written by another program
            if span.has_window(int(event_time_s) // window_seconds * window_seconds):
                before = late.get(product_id, Total())
                late[product_id] = Total(before.orders + 1, before.cents + cents)
    expired = await reader.expired_until_ms(topic, now_s()) > _since_ms(span)
    return late, _is_cut(begins, await reader.begins(topic), ends, may_have_expired=expired)


async def _dead_letters(
    kafka: Kafka, topic_prefix: str, span: Span, now_s: Callable[[], float] = time.time
) -> tuple[Counter[str], bool]:
    """The dead letters of records that arrived during the span, by reason, and whether retention may have deleted some."""
    found: Counter[str] = Counter()
    async with letter_reader(kafka, topic_prefix) as reader:
        begins = await reader.offsets_at(span.from_s * 1000)
        ends = await reader.settled_ends()
        async for letters in reader.letters(ends, begins):
            found.update(each.reason for each in letters if span.from_s <= each.timestamp_ms / 1000 < span.to_s)
        expired = await reader.expired_until_ms(now_s()) > span.from_s * 1000
        return found, _is_cut(begins, await reader.begins(), ends, may_have_expired=expired)


def _since_ms(span: Span) -> int:
    return max(0, span.from_s - _WRITTEN_BEFORE_S) * 1000


def _is_cut(begins: Offsets, oldest: Offsets, ends: Offsets, *, may_have_expired: bool) -> bool:
    """Whether records since ``begins`` may have been deleted. In a partition that has none, all were written before if none has expired."""
    return any(
        0 < oldest[partition] >= begin and (begin < ends[partition] or may_have_expired)
        for partition, begin in begins.items()
    )
