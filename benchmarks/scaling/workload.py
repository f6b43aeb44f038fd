"""Orders of many products, spread evenly over the partitions: else it would be the keys that are measured."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import orjson
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.orders import AGE_S, CLOSING_AFTER_S, OUT_OF_ORDER_S, SPAN_S, WINDOW_S, Item, Window, Workload
from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS, Watermark, encode_watermark

STATE_PARTITIONS = 6
_EVEN_UP_TO = 48
_PRODUCTS = 96
_MARK_EVERY = 500


def partition_of(product_id: str, partitions: int) -> int:
    """Where Kafka's default partitioner puts the product's orders."""
    return (int(murmur2(product_id.encode())) & 0x7FFFFFFF) % partitions


def even_over(partitions: int) -> int:
    """Over how many partitions products are spread evenly, and so over ``partitions``, too: 48 if these divide it."""
    return _EVEN_UP_TO if _EVEN_UP_TO % partitions == 0 else partitions


def spread_products(partitions: int) -> list[str]:
    """As many products in each partition: 96, or one for each partition where there are more."""
    even = even_over(partitions)
    free = dict.fromkeys(range(even), max(1, _PRODUCTS // even))
    products = []
    number = 0
    while any(free.values()):
        product_id = f"product-{number}"
        number += 1
        partition = partition_of(product_id, even)
        if free[partition]:
            free[partition] -= 1
            products.append(product_id)
    return products


class Backlog:
    """``count`` valid orders over 20 minutes of event time, up to 5 s out of order; ``truth`` is what comes of them.

    Args:
        partitions: the products are spread evenly over so many; and over any number that divides 48, if this one does.
    """

    def __init__(self, count: int, partitions: int = _EVEN_UP_TO) -> None:
        self._random = Random(1)  # noqa: S311 - no secret
        self._products = spread_products(partitions)
        self.truth = Workload(count, int(time.time()) // WINDOW_S * WINDOW_S - AGE_S)
        sums = _Sums()
        first_s = self.truth.first_s
        self._orders = []
        for number in range(count):
            event_s = first_s + SPAN_S * number / count - OUT_OF_ORDER_S * self._random.random()
            self._orders.append(self._order(number, max(event_s, float(first_s)), sums))
        self.truth.windows = sums.windows

    def catalogue(self) -> bytes:
        """The processor's catalogue file."""
        return orjson.dumps({each: {"product_name": each, "category": "Any"} for each in self._products})

    def dealt(self, partitions: int) -> Iterator[Item]:
        """The orders in turn to all partitions, and behind them one in each that closes all windows."""
        closing = [
            self._order(self.truth.count + number, float(self.truth.end_s + CLOSING_AFTER_S), _Sums())
            for number in range(partitions)
        ]
        for number, order in enumerate(self._orders):
            yield Item(number % partitions, b"%032x" % number, order)
        for number, order in enumerate(closing):
            yield Item(number, b"%032x" % (self.truth.count + number), order)

    def _order(self, number: int, event_s: float, sums: "_Sums") -> bytes:
        return _order(self._random, number, self._random.choice(self._products), event_s, sums)


class Processed(NamedTuple):
    """One record of `processed-orders`: an order, or, without a key, a watermark."""

    partition: int
    key: bytes | None
    value: bytes


@dataclass
class StateTruth(Workload):
    """What has to come of many windows that are open together."""

    minutes: int = 1

    @property
    def end_s(self) -> int:
        return self.first_s + WINDOW_S * self.minutes


class StateLoad:
    """Processed orders that fill ``products`` times ``minutes`` windows; none closes before ``closing`` is written."""

    def __init__(self, products: int, minutes: int) -> None:
        first_s = int(time.time()) // WINDOW_S * WINDOW_S - max(AGE_S, minutes * WINDOW_S)
        self._random = Random(2)  # noqa: S311 - no secret
        self._products = [f"product-{number}" for number in range(products)]
        self._partitions = [partition_of(name, STATE_PARTITIONS) for name in self._products]
        self._sums = _Sums()
        self._number = 0
        self.products = products
        self.minutes = minutes
        self.windows = products * minutes
        self.truth = StateTruth(0, first_s, windows=self._sums.windows, minutes=minutes)

    def filling(self) -> Iterator[Processed]:
        """An order for every window, minute by minute."""
        for minute in range(self.minutes):
            for product in range(self.products):
                yield from self._next(minute, product)

    def further(self, count: int) -> Iterator[Processed]:
        """Orders for windows at random."""
        for _ in range(count):
            yield from self._next(self._random.randrange(self.minutes), self._random.randrange(self.products))

    def closing(self) -> Iterator[Processed]:
        """Watermarks that close every window at once."""
        return _marks(float(self.truth.end_s))

    def _next(self, minute: int, product: int) -> Iterator[Processed]:
        # As a processor would, a watermark now and then; one that closes nothing.
        if self._number % _MARK_EVERY == 0:
            yield from _marks(float(self.truth.first_s))
        start_s = self.truth.first_s + WINDOW_S * minute
        event_s = min(start_s + WINDOW_S * self._random.random(), start_s + WINDOW_S - 0.001)
        name = self._products[product]
        order = _order(self._random, self._number, name, event_s, self._sums)
        self._number += 1
        yield Processed(self._partitions[product], name.encode(), order[:-1] + _ENRICHED)


_ENRICHED = b',"product_name":"Any","category":"Any"}'


def encode(create_batch: Callable[[], BatchBuilder], records: Iterable[Processed]) -> dict[int, list[BatchBuilder]]:
    """Batches by partition, with the headers that the processor writes."""
    now_ms = int(time.time() * 1000)
    batches: defaultdict[int, list[BatchBuilder]] = defaultdict(list)
    for partition, key, value in records:
        headers = WATERMARK_HEADERS if key is None else ORDER_HEADERS
        filled = batches[partition]
        if not filled or filled[-1].append(timestamp=now_ms, key=key, value=value, headers=headers) is None:
            filled.append(create_batch())
            filled[-1].append(timestamp=now_ms, key=key, value=value, headers=headers)
    for filled in batches.values():
        for batch in filled:
            batch.close()
    return batches


def metrics_batches(
    create_batch: Callable[[], BatchBuilder], count: int, partitions: int, first_s: int = 0
) -> dict[int, list[BatchBuilder]]:
    """So many metrics, as the analytics writes them but for the headers: a window each, from ``first_s`` on."""
    records = (
        Processed(number % partitions, b"any", encode_metric(ProductMetric(start_s, start_s + WINDOW_S, "any", 1, 100)))
        for number, start_s in enumerate(range(first_s, first_s + count * WINDOW_S, WINDOW_S))
    )
    return encode(create_batch, records)


def _marks(watermark_s: float) -> Iterator[Processed]:
    value = encode_watermark(Watermark(tuple(range(STATE_PARTITIONS)), STATE_PARTITIONS, watermark_s))
    for partition in range(STATE_PARTITIONS):
        yield Processed(partition, None, value)


class _Sums:
    """Count and revenue in cents by window."""

    def __init__(self) -> None:
        self.windows: dict[Window, tuple[int, int]] = {}

    def add(self, product_id: str, event_s: float, cents: int) -> None:
        window = product_id, int(event_s) // WINDOW_S * WINDOW_S
        count, total = self.windows.get(window, (0, 0))
        self.windows[window] = count + 1, total + cents


def _order(random: Random, number: int, product_id: str, event_s: float, sums: _Sums) -> bytes:
    cents = 1 + int(random.random() * 100_000)
    timestamp = f"{event_s:.3f}"
    sums.add(product_id, float(timestamp), cents)
    return (
        f'{{"order_id":"{number:032x}","user_id":"user-{random.getrandbits(80):020x}","product_id":"{product_id}",'
        f'"amount":{cents // 100}.{cents % 100:02d},"timestamp":{timestamp}}}'
    ).encode()
