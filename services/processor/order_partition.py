"""The processor's logic for one partition of `orders`: validate, enrich, and say how far event time has come."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import floor

from libs.events.dead_letters import RejectedError, dead_letter_headers
from libs.events.records import LOG_APPEND_TIME, Append, Output, Record
from libs.events.topics import ORDERS_DLQ, PROCESSED_ORDERS
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, Watermark, encode_watermark
from libs.runtime.clock import Clock
from libs.runtime.logic import Progress
from services.processor.catalogue import Catalogue, Product, continue_with, enrich
from services.processor.plain_orders import read_plain_order
from services.processor.source_watermark import SourceWatermark
from services.processor.validation import validate

_Route = tuple[Append, Product]
"""Where a product's orders go in the open transaction, and what they are enriched with."""


class OrderPartition:
    """Turns orders into processed orders or dead letters. Keeps no state but the watermark."""

    state_size = 0

    def __init__(
        self, topic: str, source: int, sources: int, catalogue: Catalogue, watermark: SourceWatermark, clock: Clock
    ) -> None:
        self._topic = topic
        self._source = source
        self._sources = sources
        self._catalogue = catalogue
        self._known_products = frozenset(catalogue)
        self._routes: dict[str, _Route] = {}
        self._watermark = watermark
        self._written_watermark_s: float | None = None
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self.urgent = False

    @property
    def watermark_s(self) -> float | None:
        return self._watermark.value_s

    def restore(self, records: Sequence[Record]) -> None:
        """The processor has no changelog."""

    def process(self, records: Sequence[Record], output: Output) -> None:
        routes, now_s = self._routes, self._clock.now_s()
        latest_s = 0.0  # the latest event time, none counted for more than its order's time of arrival
        rejected = 0
        for record in records:
            value = record.value
            # Judged by its arrival, an order fares the same whether it is read at once or after an outage.
            arrived_s = record.timestamp / 1000 if record.timestamp_type == LOG_APPEND_TIME else now_s
            plain = read_plain_order(value, arrived_s)
            route = None if plain is None else routes.get(plain.product_id) or self._route(plain.product_id, output)
            if plain is not None and route is not None:
                assert value is not None  # or it would be no order
                append, product = route
                enriched, event_time_s = continue_with(value, product), plain.timestamp
            else:
                try:
                    order = validate(value, self._known_products, arrived_s)
                except RejectedError as error:
                    self._reject(record, error, output)
                    rejected += 1
                    continue
                route = self._route(order["product_id"], output)
                assert value is not None
                assert route is not None
                append, product = route
                enriched, event_time_s = enrich(value, order, product), order["timestamp"]
            append(product.key, enriched, record.timestamp, ORDER_HEADERS)
            if event_time_s > latest_s:
                latest_s = max(latest_s, min(event_time_s, arrived_s))
        if rejected < len(records):
            self._watermark.saw_event(latest_s)
        self._counts["orders"] += len(records) - rejected
        self.urgent = True

    def _route(self, product_id: str, output: Output) -> _Route | None:
        product = self._catalogue.get(product_id)
        if product is None:
            return None
        partition = output.partition_for(PROCESSED_ORDERS.name, product.key)
        route = self._routes[product_id] = (output.appender(PROCESSED_ORDERS.name, partition), product)
        return route

    def _reject(self, record: Record, error: RejectedError, output: Output) -> None:
        partition = output.partition_for(ORDERS_DLQ.name, record.key)
        headers = dead_letter_headers(self._topic, self._source, record.offset, error)
        output.send(ORDERS_DLQ.name, partition, record.key, record.value, record.timestamp, headers)
        self._counts[f"dead_letters_{error.reason}"] += 1

    def punctuate(self, progress: Progress) -> None:
        self._watermark.saw_progress(progress)
        if self._watermark_is_news():
            self.urgent = True

    def _watermark_is_news(self) -> bool:
        # Windows end at whole seconds: a watermark that has passed none since the last one closes nothing.
        value_s, written_s = self._watermark.value_s, self._written_watermark_s
        return value_s is not None and (written_s is None or floor(value_s) > floor(written_s))

    def before_commit(self, output: Output) -> Mapping[str, int]:
        """After a transaction's orders, the watermark that covers them goes to every partition."""
        watermark_s = self._watermark.value_s
        if watermark_s is not None and self._watermark_is_news():
            mark = encode_watermark(Watermark(self._source, self._sources, watermark_s))
            now_ms = int(self._clock.now_s() * 1000)
            for partition in range(output.partition_count(PROCESSED_ORDERS.name)):
                output.send(PROCESSED_ORDERS.name, partition, None, mark, now_ms, WATERMARK_HEADERS)
            self._written_watermark_s = watermark_s
        counts, self._counts = self._counts, Counter()
        self._routes.clear()
        self.urgent = False
        return counts
