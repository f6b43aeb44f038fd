"""Waits until all windows of a span are closed, and their metrics are in the topic.

A watermark says that all orders up to its event time have been written before it. If the watermark has not passed the span's
last window, the span may still be complete: watermarks stop when no order comes and no window is open. Then the newest orders
are checked: none of them may be in a window that is still open.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

from daily_report.span import Span
from libs.events.processed_orders import read_processed_order
from libs.events.topics import ORDERS, PROCESSED_ORDERS
from libs.events.watermarks import WATERMARK_HEADERS
from libs.printable import time_of
from libs.runtime.errors import PipelineError
from services.processor.validation import MAX_AHEAD_S
from verification.topic_reader import Offsets, TopicReader
from verification.watermarks import Watermarks

_POLL_S = 0.5
_MOMENT_S = 5.0
_TAIL_RECORDS = 256


async def wait_until_closed(
    reader: TopicReader, prefix: str, span: Span, window_seconds: int, wait_s: float, progress: Callable[[str], None]
) -> None:
    """Return once all windows of ``span`` are closed, and their metrics are in the topic.

    Raises:
        PipelineError: they are not after ``wait_s``.
    """
    orders, processed = prefix + ORDERS.name, prefix + PROCESSED_ORDERS.name
    orders_ends = await reader.settled_ends(orders)
    processed_ends: Offsets = {}

    async def open_windows() -> str:
        nonlocal processed_ends
        processed_ends = await reader.settled_ends(processed)
        passed_s = await newest_watermark_s(reader, processed, processed_ends)
        if passed_s >= span.last_window_end_s(window_seconds):
            # A transaction ends in each partition on its own: orders that were written with this watermark, or before it, may lie
            # beyond the ends that were asked for at the same time.
            processed_ends = await reader.settled_ends(processed)
            return ""
        if behind := await _behind(reader, prefix + "processor", orders, orders_ends):
            return f"the processor has yet to read {behind:,} of the orders"
        processed_ends = await reader.settled_ends(processed)
        if await _has_open_window(reader, processed, processed_ends, passed_s, span, window_seconds):
            return f"it has open windows; event time has come to {_time(passed_s)}"
        return ""

    async def unread() -> str:
        behind = await _behind(reader, prefix + "analytics", processed, processed_ends)
        return f"the analytics has yet to read {behind:,} of its records" if behind else ""

    deadline_s = time.monotonic() + wait_s
    await _until_clear(open_windows, span, deadline_s, progress)
    # Watermarks are written continuously, and the analytics is always a moment behind.
    await _until_clear(unread, span, max(deadline_s, time.monotonic() + _MOMENT_S), progress)


async def _until_clear(
    obstacle: Callable[[], Awaitable[str]], span: Span, deadline_s: float, progress: Callable[[str], None]
) -> None:
    while found := await obstacle():
        if time.monotonic() > deadline_s:
            raise PipelineError(
                f"{span.name} is not complete yet: {found}", advice="look at `make watch`, and try again later"
            )
        progress(f"waiting: {found}")
        await asyncio.sleep(_POLL_S)


async def newest_watermark_s(reader: TopicReader, topic: str, ends: Offsets) -> float:
    """The event time that all source partitions have passed, by the watermarks before ``ends``; ``-inf`` if unknown."""
    begins = await reader.begins(topic)
    left = {partition: end - begins[partition] for partition, end in ends.items() if end > begins[partition]}
    if not left:
        return -math.inf
    partition = min(left, key=left.__getitem__)  # each has all watermarks
    span = _TAIL_RECORDS
    while True:
        begin = max(begins[partition], ends[partition] - span)
        watermarks = Watermarks()
        async for records in reader.read(topic, {partition: begin}, {partition: ends[partition]}):
            for record in records:
                if list(record.headers) == WATERMARK_HEADERS:
                    try:
                        watermarks.add(partition, record.value)
                    except ValueError:
                        continue  # written by another program; the analytics makes it a dead letter
        passed_s = watermarks.passed_s(partition)
        if passed_s > -math.inf or begin == begins[partition]:
            return passed_s
        span *= 8


async def _has_open_window(
    reader: TopicReader, topic: str, ends: Offsets, passed_s: float, span: Span, window_seconds: int
) -> bool:
    """Whether an order before ``ends`` is in a window of ``span`` that event time has not passed."""
    # An order of an open window arrived at most a window's length and the allowed clock advance before now.
    since_s = max(passed_s, span.from_s) - window_seconds - MAX_AHEAD_S
    begins = await reader.offsets_at(topic, max(0, int(since_s * 1000)))
    async for records in reader.read(topic, begins, ends):
        for record in records:
            if list(record.headers) == WATERMARK_HEADERS:
                continue
            try:
                _, event_time_s, _ = read_processed_order(record.value)
            except ValueError:
                continue  # written by another program
            start_s = int(event_time_s) // window_seconds * window_seconds
            if start_s + window_seconds > passed_s and span.has_window(start_s):
                return True
    return False


async def _behind(reader: TopicReader, group: str, topic: str, ends: Offsets) -> int:
    """How many records before ``ends`` the group has not read."""
    committed = await reader.committed(group, topic)
    record_ends = await reader.record_ends(topic, ends)
    return sum(max(0, end - committed.get(partition, 0)) for partition, end in record_ends.items())


def _time(epoch_s: float) -> str:
    return "no watermark" if epoch_s == -math.inf else time_of(epoch_s * 1000)
