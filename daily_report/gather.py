"""Reads the data of a report: the metrics of each source, the dead letters and the late orders."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiokafka.errors import KafkaError

from daily_report.closed_windows import wait_until_closed
from daily_report.reconciliation import TOPIC, Reconciliation, Total, reconcile
from daily_report.report import Report
from daily_report.span import Span
from daily_report.wording import retention_notes
from dead_letters.reader import letter_reader
from libs.events.processed_orders import read_processed_order
from libs.events.product_metrics import MetricRow
from libs.events.topics import LATE_ORDERS, PRODUCT_METRICS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import Kafka
from metrics_report.file_source import from_file
from metrics_report.skipped import Skipped
from metrics_report.sources import from_database, metrics_between
from metrics_report.summary import Selection
from services.sink.database.address import Address
from verification.history import find_metrics_missing_until_s
from verification.topic_reader import Offsets, TopicReader

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


async def gather(
    kafka: Kafka,
    *,
    topic_prefix: str,
    window_seconds: int,
    span: Span,
    outputs: Outputs,
    wait_s: float,
    progress: Callable[[str], None] = lambda _: None,
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
            topic = topic_prefix + PRODUCT_METRICS.name
            missing_until_s = await find_metrics_missing_until_s(reader, topic, await reader.begins(topic))
            metrics = await _topic_metrics(reader, topic, span, skipped)
            late_orders, late_are_cut = await _late_orders(
                reader, topic_prefix + LATE_ORDERS.name, span, window_seconds
            )
        dead_letters, letters_are_cut = await _dead_letters(kafka, topic_prefix, span)
    except KafkaError as error:
        raise PipelineError(f"the broker went away: {error!r}", advice="try again once it is back") from error
    compare = partial(_compare, metrics, outputs, span, missing_until_s)
    reconciliation, lines_skipped = await _settled(compare, wait_s, progress)
    if no_metrics := skipped.count + lines_skipped:
        notes.append(f"{no_metrics:,} records or lines are no metrics and were left out, whatever their time.")
    notes += retention_notes(span, missing_until_s)
    if reconciliation.unverified:
        notes.append(
            f"{reconciliation.unverified:,} metrics are in one source only: the topic does not reach back so far any more."
        )
    for are_cut, what in ((letters_are_cut, "dead letters"), (late_are_cut, "late orders")):
        if are_cut:
            notes.append(f"There may have been more {what}: the topic does not reach back to the beginning any more.")
    return Report(span, reconciliation, dead_letters, late_orders, tuple(notes))


async def _settled(
    compare: Callable[[], tuple[Reconciliation, int]], wait_s: float, progress: Callable[[str], None]
) -> tuple[Reconciliation, int]:
    """The result of ``compare`` once the sources agree, or after ``wait_s``."""
    deadline_s = time.monotonic() + wait_s
    while True:
        reconciliation, skipped = await asyncio.to_thread(compare)
        if not reconciliation.differences or time.monotonic() > deadline_s:
            return reconciliation, skipped
        progress(f"waiting: the sources differ in {len(reconciliation.differences):,} windows")
        await asyncio.sleep(_POLL_S)


def _compare(
    topic: list[MetricRow], outputs: Outputs, span: Span, topic_missing_until_s: float
) -> tuple[Reconciliation, int]:
    """Compare the current outputs with the topic; also returns the number of lines in the file that are not metrics."""
    selection, skipped = Selection(from_s=span.from_s, to_s=span.to_s), Skipped()
    found: dict[str, Iterable[MetricRow]] = {TOPIC: topic}
    if outputs.file:
        found[FILE] = filter(selection.has, from_file(outputs.file, selection, skipped))
    if outputs.database:
        found[DATABASE] = from_database(outputs.database, selection)
    return reconcile(found, topic_missing_until_s), skipped.count


async def _topic_metrics(reader: TopicReader, topic: str, span: Span, skipped: Skipped) -> list[MetricRow]:
    ends = await reader.settled_ends(topic)
    begins = await reader.offsets_at(topic, _since_ms(span))
    return [
        row async for row in metrics_between(reader, topic, begins, ends, skipped) if span.has_window(row.window_start)
    ]


async def _late_orders(
    reader: TopicReader, topic: str, span: Span, window_seconds: int
) -> tuple[dict[str, Total], bool]:
    """The late orders by product, and whether retention may have deleted some."""
    begins = await reader.offsets_at(topic, _since_ms(span))
    late: dict[str, Total] = {}
    async for records in reader.read(topic, begins, await reader.settled_ends(topic)):
        for record in records:
            try:
                product_id, event_time_s, cents = read_processed_order(record.value)
            except ValueError:
                continue  # written by another program
            if span.has_window(int(event_time_s) // window_seconds * window_seconds):
                before = late.get(product_id, Total())
                late[product_id] = Total(before.orders + 1, before.cents + cents)
    return late, _is_cut(begins, await reader.begins(topic))


async def _dead_letters(kafka: Kafka, topic_prefix: str, span: Span) -> tuple[Counter[str], bool]:
    """The dead letters of records that arrived during the span, by reason, and whether retention may have deleted some."""
    found: Counter[str] = Counter()
    async with letter_reader(kafka, topic_prefix) as reader:
        begins = await reader.offsets_at(span.from_s * 1000)
        async for letters in reader.letters(await reader.settled_ends(), begins):
            found.update(each.reason for each in letters if span.from_s <= each.timestamp_ms / 1000 < span.to_s)
        return found, _is_cut(begins, await reader.begins())


def _since_ms(span: Span) -> int:
    return max(0, span.from_s - _WRITTEN_BEFORE_S) * 1000


def _is_cut(begins: Offsets, oldest: Offsets) -> bool:
    return any(0 < oldest[partition] >= begin for partition, begin in begins.items())
