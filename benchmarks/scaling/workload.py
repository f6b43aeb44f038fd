"""Orders of many products, spread evenly over the partitions, so that the distribution of keys does not affect the results."""

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
    """The partition of a product's orders by Kafka's default partitioner."""
    return (int(murmur2(product_id.encode())) & 0x7FFFFFFF) % partitions


def even_over(partitions: int) -> int:
    """The number of partitions to spread products over, so that they are even over ``partitions``, too: 48 if it is a divisor."""
    return _EVEN_UP_TO if _EVEN_UP_TO % partitions == 0 else partitions


def spread_products(partitions: int) -> list[str]:
    """The same number of products in each partition: 96 in total, or one for each partition if there are more partitions."""
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
    """``count`` valid orders over 20 minutes of event time, up to 5 s out of order; ``truth`` is the expected result.

    Args:
        partitions: the products are spread evenly over this number, and over any divisor of 48 if it is one.
    """

    def __init__(self, count: int, partitions: int = _EVEN_UP_TO) -> None:
        self._random = Random(1)  # noqa: S311 - not for cryptography
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
        """The orders, distributed round-robin over the partitions, and then one in each that closes all windows."""
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
    """The expected metrics of many concurrently open windows."""

    minutes: int = 1

    @property
    def end_s(self) -> int:
        return self.first_s + WINDOW_S * self.minutes


class StateLoad:
    """Processed orders that fill ``products`` times ``minutes`` windows; none closes before ``closing`` is written."""

    def __init__(self, products: int, minutes: int) -> None:
        first_s = int(time.time()) // WINDOW_S * WINDOW_S - max(AGE_S, minutes * WINDOW_S)
        self._random = Random(2)  # noqa: S311 - not for cryptography
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
        """Orders for random windows."""
        for _ in range(count):
            yield from self._next(self._random.randrange(self.minutes), self._random.randrange(self.products))

    def closing(self) -> Iterator[Processed]:
        """Watermarks that close every window at once."""
        return _marks(float(self.truth.end_s))

    def _next(self, minute: int, product: int) -> Iterator[Processed]:
        # Like a processor, write a watermark from time to time, which closes no window.
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
    """``count`` metrics as the analytics writes them, without headers, each of another window, from ``first_s`` on."""
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
