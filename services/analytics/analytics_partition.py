"""The analytics' logic for one partition of `processed-orders`: windows per product, closed by watermarks."""

from collections.abc import Sequence

import structlog

from libs.events.dead_letters import Reason, RejectedError, dead_letter
from libs.events.limits import DECLARED_LIMITS, DerivedLimits
from libs.events.money import MAX_CENTS
from libs.events.order_ids import order_id_in
from libs.events.processed_orders import DECODE_ERRORS, decode_sold_product, read_processed_order
from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.record_sizes import batch_bytes
from libs.events.topics import ANALYTICS_STATE, LATE_ORDERS, ORDERS_DLQ, PRODUCT_METRICS
from libs.events.watermarks import LATEST_TIME_S, ORDER_HEADERS, TYPE_HEADER, WATERMARK_HEADERS, decode_watermark
from libs.runtime.clock import Clock
from libs.runtime.exactly_once.stage import PartitionLogic
from libs.runtime.logs import debugging
from libs.runtime.records import Output, Record, carried_headers
from services.analytics.window_metrics import WindowMetrics
from services.analytics.window_tally import WindowTally
from services.analytics.windows import TumblingWindows, WindowKey

log = structlog.get_logger()

# No value, none that can be decoded, an amount that overflows.
_INVALID = (TypeError, *DECODE_ERRORS, OverflowError)


class AnalyticsPartition(PartitionLogic):
    """Counts orders into windows. Writes a window's metrics once, when the watermark of every source has passed its end.

    The watermarks come as records, so it does not look at the clock.
    """

    urgent = False

    def __init__(
        self,
        topic: str,
        partition: int,
        window_s: int,
        clock: Clock,
        metrics: WindowMetrics,
        limits: DerivedLimits = DECLARED_LIMITS,
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._windows = TumblingWindows(window_s)
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._tally = WindowTally(metrics)

    @property
    def watermark_s(self) -> float | None:
        now_s = self._windows.clock.now_s
        return None if now_s == float("-inf") else now_s

    @property
    def state_size(self) -> int:
        return len(self._windows)

    @property
    def pending_records(self) -> int:
        return self._windows.change_count

    @property
    def state_offset(self) -> int | None:
        return self._windows.source_offset

    def restore(self, records: Sequence[Record]) -> None:
        for record in records:
            self._windows.restore(record.key or b"", record.value)

    def process(self, records: Sequence[Record], output: Output) -> None:
        if debugging():
            for record in records:
                self._process_and_log(record, output)
        else:
            self._process(records, output)

    def _process_and_log(self, record: Record, output: Output) -> None:
        before = self._tally.orders
        self._process((record,), output)
        if self._tally.orders > before:
            product_id, event_time_s, _ = read_processed_order(record.value)
            window = self._windows.key_for(product_id, event_time_s)
            _log_order("order counted", record, window)

    def _process(self, records: Sequence[Record], output: Output) -> None:
        """Count the orders, and follow the watermarks.

        Orders are checked as ``read_processed_order`` does it, and counted mostly without a further call: calls for each take a
        third more time.
        """
        latest_windows, add, decode = self._windows.latest, self._windows.add, decode_sold_product
        orders = 0
        for record in records:
            if record.key is None and list(record.headers) == WATERMARK_HEADERS:
                self._move_clock(record, output)
                continue
            try:
                order = decode(record.value)  # type: ignore[arg-type]  # None is an error that is expected
                amount, event_time_s = order.amount, order.timestamp
                cents = round(amount * 100.0)
            except _INVALID:
                self._set_aside(record, output)
                continue
            if cents / 100.0 == amount and 0 < cents <= MAX_CENTS:
                window = latest_windows.get(order.product_id)
                if window is not None and window.changed and window.begins_s <= event_time_s < window.ends_s:
                    window.count += 1
                    window.cents += cents
                    orders += 1
                    continue
                if 0.0 <= event_time_s <= LATEST_TIME_S and add(order.product_id, event_time_s, cents):
                    orders += 1
                    continue
            self._set_aside(record, output)
        self._tally.orders += orders

    def _set_aside(self, record: Record, output: Output) -> None:
        """Write an order elsewhere that was not counted: it is late, or not valid."""
        try:
            product_id, event_time_s, _ = read_processed_order(record.value)
        except ValueError as error:
            self._reject(record, RejectedError(Reason.MALFORMED, str(error)), output)
        else:
            self._too_late(record, self._windows.key_for(product_id, event_time_s), output)

    def _move_clock(self, record: Record, output: Output) -> None:
        try:
            mark = decode_watermark(record.value)
        except ValueError as error:
            self._reject(record, RejectedError(Reason.MALFORMED, str(error)), output)
            return
        for metric in self._windows.advance(mark):
            self._close(metric, output)

    def _close(self, metric: ProductMetric, output: Output) -> None:
        key = metric.product_id.encode()
        partition = output.partition_for(PRODUCT_METRICS.name, key)
        output.send(PRODUCT_METRICS.name, partition, key, encode_metric(metric), self._now_ms(), [])
        self._tally.closed.append(metric)
        log.debug("window closed", **metric._asdict())
        self.urgent = True

    def _too_late(self, record: Record, window: WindowKey, output: Output) -> None:
        headers = [
            *ORDER_HEADERS,
            ("window.start", b"%d" % window.start_s),
            ("window.end", b"%d" % window.end_s),
            *carried_headers(record.headers, (TYPE_HEADER, "window.start", "window.end")),
        ]
        if batch_bytes(record.key, record.value, headers) > self._limits.late_order:
            # The processor writes no such order, unless the limit was a different one then.
            error = RejectedError(Reason.TOO_LARGE, f"late-orders takes {self._limits.late_order} bytes")
            self._reject(record, error, output)
            return
        partition = output.partition_for(LATE_ORDERS.name, record.key)
        output.send(LATE_ORDERS.name, partition, record.key, record.value, record.timestamp, headers)
        self._tally.late += 1
        if debugging():
            _log_order("order late", record, window)
        self.urgent = True

    def _reject(self, record: Record, error: RejectedError, output: Output) -> None:
        # Only the processor should write into this topic. A record of another writer becomes a dead letter and is counted.
        what = (
            "order too large for late-orders"
            if error.reason is Reason.TOO_LARGE
            else "foreign record in processed-orders"
        )
        log.error(what, offset=record.offset, error=str(error))
        partition = output.partition_for(ORDERS_DLQ.name, record.key)
        letter = dead_letter(self._topic, self._partition, record, error, self._limits.dead_letter)
        output.send(ORDERS_DLQ.name, partition, letter.key, letter.value, record.timestamp, letter.headers)
        self._tally.dead_letters[letter.reason] += 1
        self.urgent = True

    def before_commit(self, output: Output, position: int) -> WindowTally:
        """Write the changelog in the same transaction as the offsets and the metrics."""
        now_ms = self._now_ms()
        for key, value in self._windows.take_changes(position):
            output.send(ANALYTICS_STATE.name, self._partition, key, value, now_ms, [])
        tally, self._tally = self._tally, WindowTally(self._metrics)
        self.urgent = False
        return tally

    def _now_ms(self) -> int:
        return int(self._clock.now_s() * 1000)


def _log_order(event: str, record: Record, window: WindowKey) -> None:
    # The same names and order as in the product-metrics record: one search finds the order and its window's metrics.
    of_window = {"window_start": window.start_s, "window_end": window.end_s, "product_id": window.product_id}
    log.debug(event, order_id=order_id_in(record.value), offset=record.offset, **of_window)
