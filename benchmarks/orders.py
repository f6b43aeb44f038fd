"""Generates the input together with the expected output, from a seed, without the measured code."""

import json
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from aiokafka.partitioner import murmur2

PARTITIONS = 6
WINDOW_S = 60
SPAN_S = 20 * 60
FAULTY_SHARE = 0.01
# Below the bound of 5 s by more than a timestamp's rounding.
OUT_OF_ORDER_S = 4.9
CLOSING_AFTER_S = 15 * 60
# The last event is then 15 minutes ago: no order is in the future, and none is older than a topic's retention.
AGE_S = 50 * 60

Window = tuple[str, int]
"""A product and its window's start in epoch seconds."""

REAL_PRODUCTS = {
    "prod-1": {"product_name": "Mechanical Keyboard", "category": "Electronics"},
    "prod-2": {"product_name": "Espresso Machine", "category": "Kitchen"},
    "prod-3": {"product_name": "Trail Running Shoes", "category": "Sports"},
    "prod-4": {"product_name": "Desk Lamp", "category": "Home"},
    "prod-5": {"product_name": "Noise-Cancelling Headphones", "category": "Electronics"},
}


def partition_of(key: bytes) -> int:
    """The partition of ``key`` by Kafka's default partitioner."""
    return int(murmur2(key) & 0x7FFFFFFF) % PARTITIONS


def _closing_products() -> dict[str, dict[str, str]]:
    """Products without orders of their own, one for each partition of the processed orders."""
    names: dict[int, str] = {}
    number = 0
    while len(names) < PARTITIONS:
        names.setdefault(partition_of(f"closing-{number}".encode()), f"closing-{number}")
        number += 1
    return {name: {"product_name": "Closing", "category": "None"} for name in sorted(names.values())}


CATALOGUE = REAL_PRODUCTS | _closing_products()


class Item(NamedTuple):
    """One record to write."""

    partition: int
    key: bytes
    value: bytes


@dataclass
class Workload:
    """Orders, and the expected result of each.

    An order's number is in the last 8 hex digits of its id, and of its record's key if the id is invalid.
    """

    count: int
    first_s: int
    orders: list[Item] = field(default_factory=list)
    closing: list[Item] = field(default_factory=list)
    is_valid: bytearray = field(default_factory=bytearray)
    fingerprints: "array[int]" = field(default_factory=lambda: array("q"))
    windows: Mapping[Window, tuple[int, int]] = field(default_factory=dict)

    @property
    def valid(self) -> int:
        return sum(self.is_valid)

    @property
    def end_s(self) -> int:
        """The end of the last window; later windows belong to the closing events, and are ignored."""
        return self.first_s + SPAN_S


def make_workload(count: int, seed: int, now_s: float) -> Workload:
    """``count`` orders over 20 minutes of event time, and closing events that close the last windows.

    The same seed gives the same orders except for their times, which are relative to the minute of ``now_s``.
    """
    first_s = int(now_s) // WINDOW_S * WINDOW_S - AGE_S
    workload = Workload(count, first_s)
    random = Random(seed)  # noqa: S311 - not for cryptography
    sums: defaultdict[Window, list[int]] = defaultdict(lambda: [0, 0])
    for number in range(count):
        order_id = f"{random.getrandbits(96):024x}{number:08x}"
        user_id = f"user-{random.getrandbits(80):020x}"
        product_id = f"prod-{1 + int(random.random() * 5)}"
        cents = 1 + int(random.random() * 100_000)
        event_s = first_s + SPAN_S * number / count - OUT_OF_ORDER_S * random.random()
        timestamp = round(max(event_s, float(first_s)), 3)
        amount = f"{cents // 100}.{cents % 100:02d}"
        value = _order_json(order_id, user_id, product_id, amount, timestamp)
        valid = random.random() >= FAULTY_SHARE
        if valid:
            # int(), so that float rounding does not decide about the window
            window = sums[product_id, int(timestamp) // WINDOW_S * WINDOW_S]
            window[0] += 1
            window[1] += cents
            product = REAL_PRODUCTS[product_id]
            fingerprint = hash(
                (order_id, user_id, product_id, cents / 100, timestamp, product["product_name"], product["category"])
            )
        else:
            value = FAULTS[number % len(FAULTS)](value)
            fingerprint = hash(value)
        workload.orders.append(Item(number % PARTITIONS, order_id.encode(), value))
        workload.is_valid.append(valid)
        workload.fingerprints.append(fingerprint)
    workload.windows = {window: (number, cents) for window, (number, cents) in sums.items()}
    workload.closing = _closing_events(workload)
    return workload


def _order_json(order_id: str, user_id: str, product_id: str, amount: str, timestamp: float) -> bytes:
    return (
        f'{{"order_id":"{order_id}","user_id":"{user_id}","product_id":"{product_id}",'
        f'"amount":{amount},"timestamp":{timestamp}}}'
    ).encode()


def _closing_events(workload: Workload) -> list[Item]:
    """An order for every product in every partition, long after the last window.

    Some frameworks close windows by the stream time of a partition, some by that of a key, and all need a later event.
    """
    closing: list[Item] = []
    for partition in range(PARTITIONS):
        for product_id in CATALOGUE:
            order_id = f"{'c' * 24}{workload.count + len(closing):08x}"
            timestamp = float(workload.end_s + CLOSING_AFTER_S)
            value = _order_json(order_id, "closing", product_id, "1.00", timestamp)
            closing.append(Item(partition, order_id.encode(), value))
    return closing


def _with(name: str, replacement: str) -> Callable[[bytes], bytes]:
    def spoil(value: bytes) -> bytes:
        fields = json.loads(value)
        inside = [f'"{key}":{replacement if key == name else json.dumps(fields[key])}' for key in fields]
        return ("{" + ",".join(inside) + "}").encode()

    return spoil


def _without_amount(value: bytes) -> bytes:
    fields = json.loads(value)
    del fields["amount"]
    return json.dumps(fields, separators=(",", ":")).encode()


FAULTS: list[Callable[[bytes], bytes]] = [
    lambda value: value[:-20],
    lambda value: b"[" + value + b"]",
    _without_amount,
    _with("amount", '"12.50"'),
    _with("amount", "-3.5"),
    _with("amount", "1.005"),
    _with("product_id", '"prod-99"'),
    _with("order_id", '""'),
    _with("user_id", "17"),
    _with("timestamp", "-1"),
    _with("timestamp", '"yesterday"'),
]


def processed(workload: Workload) -> list[Item]:
    """The processor's output for the valid orders, in the order of the input, followed by the closing events."""
    items = []
    for number, order in enumerate(workload.orders):
        if workload.is_valid[number]:
            items.append(_enriched(order))
    one_partition = [order for order in workload.closing if order.partition == 0]
    return items + [_enriched(order) for order in one_partition]


_SUFFIXES = {
    product_id.encode(): b"," + json.dumps(fields, separators=(",", ":")).encode()[1:]
    for product_id, fields in CATALOGUE.items()
}
_TARGETS = {product_id: partition_of(product_id) for product_id in _SUFFIXES}


def _enriched(order: Item) -> Item:
    start = order.value.index(b'"product_id":"') + 14
    product_id = order.value[start : order.value.index(b'"', start)]
    return Item(_TARGETS[product_id], product_id, order.value[:-1] + _SUFFIXES[product_id])
