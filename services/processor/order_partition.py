"""The processor's logic for one partition of `orders`: validates and enriches orders, and writes watermarks."""

from collections.abc import Sequence

from libs.events.dead_letters import Reason, RejectedError, dead_letter
from libs.events.limits import DECLARED_LIMITS, DerivedLimits
from libs.events.record_sizes import at_most_bytes, batch_bytes
from libs.events.topics import ORDERS_DLQ, PROCESSED_ORDERS
from libs.events.watermarks import ORDER_HEADERS, TYPE_HEADER, WATERMARK_HEADERS, encode_watermark
from libs.runtime.clock import Clock
from libs.runtime.exactly_once.stage import PartitionLogic, Progress
from libs.runtime.logs import debugging
from libs.runtime.records import LOG_APPEND_TIME, Output, Record, Row, carried_headers
from services.processor.catalogue import Catalogue, Product, continued, enrich
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_log import log_processed, log_rejected
from services.processor.order_metrics import OrderMetrics
from services.processor.order_tally import OrderTally
from services.processor.plain_orders import read_plain_order
from services.processor.replica_watermark import ReplicaWatermark
from services.processor.source_watermark import SourceWatermark
from services.processor.validation import validate

# More than the overhead of a batch with one order that has no headers of its sender.
_AROUND_A_VALUE_BYTES = 1024

Route = tuple[int, bytes, bytes]
"""The output partition of a product's orders, their key, and the JSON text that ends them."""


class OrderPartition(PartitionLogic):
    """Turns orders into processed orders or dead letters. Has no state but the watermark.

    ``routes`` has the products that were seen; a replica's partitions share it, since a catalogue can be large.
    """

    urgent = False

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators, each of its own type
        self,
        topic: str,
        source: int,
        catalogue: Catalogue,
        watermark: SourceWatermark,
        replica_watermark: ReplicaWatermark,
        event_time_lag: EventTimeLag,
        clock: Clock,
        metrics: OrderMetrics,
        limits: DerivedLimits = DECLARED_LIMITS,
        routes: dict[str, Route] | None = None,
    ) -> None:
        self._topic = topic
        self._source = source
        self._catalogue = catalogue
        self._routes = {} if routes is None else routes
        self._rows: list[Row] = []  # of the current batch
        self._rows_partitions: list[int] = []
        self._watermark = watermark
        self._replica_watermark = replica_watermark
        self._source_started = False
        self._event_time_lag = event_time_lag
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._surely_fits_bytes = limits.processed_order - _AROUND_A_VALUE_BYTES
        self._tally = OrderTally(metrics)

    @property
    def watermark_s(self) -> float | None:
        return self._watermark.value_s

    @property
    def event_time_lag_s(self) -> float | None:
        return self._watermark.lag_s

    def process(self, records: Sequence[Record], output: Output) -> None:
        routes, now_s, surely_fits_bytes = self._routes, self._clock.now_s(), self._surely_fits_bytes
        latest_s = 0.0  # the latest event time, each limited by its order's time of arrival
        rejected = 0
        add_row, add_partition = self._rows.append, self._rows_partitions.append
        for record in records:
            value, timestamp_ms = record.value, record.timestamp
            # Validated by its arrival time, an order has the same result whether it is read at once or after an outage.
            arrived_s = timestamp_ms / 1000 if record.timestamp_type == LOG_APPEND_TIME else now_s
            plain = read_plain_order(value, arrived_s)
            if plain is not None and (route := routes.get(plain.product_id)) is not None:
                assert value is not None  # a null value is not a valid order
                partition, key, closing_json = route
                row = (key, continued(value, closing_json), timestamp_ms)
                event_time_s = plain.timestamp
            else:
                try:
                    order = validate(value, self._catalogue, arrived_s)
                except RejectedError as error:
                    self._reject(record, error, output)
                    rejected += 1
                    continue
                assert value is not None
                product = self._catalogue[order["product_id"]]
                partition, key, _ = self._route(order["product_id"], product, output)
                row = (key, enrich(value, order, product), timestamp_ms)
                event_time_s = order["timestamp"]
            if not record.headers and len(row[1]) <= surely_fits_bytes:
                add_row(row)
                add_partition(partition)
            elif not self._send_alone(record, row, partition, output):
                rejected += 1
                continue
            if event_time_s > latest_s:
                latest_s = event_time_s if event_time_s <= arrived_s else max(latest_s, arrived_s)
        self._write_rows(output)
        if rejected < len(records):
            self._watermark.saw_event(latest_s)
            self._tally.processed(len(records) - rejected, latest_s)
        newest = records[-1]
        if newest.timestamp_type == LOG_APPEND_TIME:  # a timestamp of the sender does not tell the arrival time
            self._watermark.saw_arrival(newest.timestamp / 1000)
            self._event_time_lag.saw_orders(self._source, self._watermark)
        self._replica_watermark.saw_order(now_s)
        self._replica_watermark.advance(self._source, self._watermark.value_s)
        self.urgent = True

    def _send_alone(self, record: Record, row: tuple[bytes, bytes, int], partition: int, output: Output) -> bool:
        """Write an order with its sender's headers, after the earlier orders of the batch.

        Returns False if it is too large and became a dead letter.
        """
        key, value, timestamp_ms = row
        all_headers = [*ORDER_HEADERS, *carried_headers(record.headers, (TYPE_HEADER,))]
        if at_most_bytes(value, all_headers) > self._surely_fits_bytes:
            size_bytes, limit_bytes = batch_bytes(key, value, all_headers), self._limits.processed_order
            if size_bytes > limit_bytes:
                message = f"the processed order takes {size_bytes} bytes, it may have {limit_bytes}"
                self._reject(record, RejectedError(Reason.TOO_LARGE, message), output)
                return False
        self._write_rows(output)
        if debugging():
            log_processed(value, partition)
        output.send(PROCESSED_ORDERS.name, partition, key, value, timestamp_ms, all_headers)
        return True

    def _write_rows(self, output: Output) -> None:
        if not self._rows:
            return
        if debugging():
            for partition, (_, value, _) in zip(self._rows_partitions, self._rows, strict=True):
                log_processed(value, partition)
        output.extend(PROCESSED_ORDERS.name, self._rows_partitions, self._rows, ORDER_HEADERS)
        self._rows.clear()
        self._rows_partitions.clear()

    def _route(self, product_id: str, product: Product, output: Output) -> Route:
        partition = output.partition_for(PROCESSED_ORDERS.name, product.key)
        route = self._routes[product_id] = (partition, product.key, product.closing_json)
        return route

    def _reject(self, record: Record, error: RejectedError, output: Output) -> None:
        letter = dead_letter(self._topic, self._source, record, error, self._limits.dead_letter)
        # All dead letters of a source partition go to one partition, as in Spring Kafka: fewer partitions per transaction
        # cost less.
        output.send(ORDERS_DLQ.name, self._source, letter.key, letter.value, record.timestamp, letter.headers)
        self._tally.dead_letters[letter.reason] += 1
        log_rejected(record, letter.reason)

    @property
    def waits_for_clock(self) -> bool:
        return self._source_started and not self._replica_watermark.is_complete

    def punctuate(self, progress: Progress) -> None:
        self._source_started = progress.source_started
        self._watermark.saw_progress(progress)
        self._replica_watermark.saw_quiet(progress.quiet_since_s)
        self._replica_watermark.advance(self._source, self._watermark.value_s)
        if self._replica_watermark.is_due():
            self.urgent = True

    def before_commit(self, output: Output, position: int) -> OrderTally:  # noqa: ARG002 - there is no state
        """Write the watermark to every output partition, after the orders of all partitions in the transaction.

        The first partition for which this is called writes it: ``output`` has the orders of all partitions by then.
        """
        if self._replica_watermark.is_due():
            mark = encode_watermark(self._replica_watermark.take())
            now_ms = int(self._clock.now_s() * 1000)
            for partition in range(output.partition_count(PROCESSED_ORDERS.name)):
                output.send(PROCESSED_ORDERS.name, partition, None, mark, now_ms, WATERMARK_HEADERS)
        tally, self._tally = self._tally, OrderTally(self._metrics)
        self.urgent = False
        return tally
