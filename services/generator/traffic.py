"""Realistic traffic, without I/O: the orders' arrival times, users, products and prices.

Times are event times. All random numbers come from the generator that is passed in, so a seed reproduces the traffic.
"""

import math
from bisect import bisect
from random import Random
from typing import NamedTuple, TypedDict

LOWEST_CENTS = 10_00
HIGHEST_CENTS = 500_00


class RateRange(NamedTuple):
    """Orders a second; equal bounds mean a fixed rate."""

    lowest: float
    highest: float


class Order(TypedDict):
    """The contract's fields; ``amount`` in dollars, ``timestamp`` in epoch seconds."""

    order_id: str
    user_id: str
    product_id: str
    amount: float
    timestamp: float


class Product(NamedTuple):
    """A product: its share of all orders, and its mean price."""

    product_id: str
    share: float
    price_cents: int


PRODUCTS = (
    Product("prod-1", 0.36, 89_90),
    Product("prod-2", 0.08, 349_00),
    Product("prod-3", 0.22, 129_50),
    Product("prod-4", 0.20, 34_95),
    Product("prod-5", 0.14, 249_00),
)


class RateCurve:
    """The rate over time: a daily curve with its minimum at 04:00 UTC and its maximum at 16:00, plus random bursts."""

    _DAY_S = 86_400
    _QUIETEST_S = 4 * 3600
    _DAILY_SHARE = 0.7  # of the range; the rest is for bursts, so that they are visible at the busiest hour, too
    _BETWEEN_BURSTS_S = 120
    _BURST_S = 15

    def __init__(self, rate: RateRange, start_s: float, rng: Random) -> None:
        self._rate = rate
        self._rng = rng
        self._plan_burst(start_s)

    def rate_at(self, time_s: float) -> float:
        """Orders a second at ``time_s`` (epoch seconds), which must not decrease from call to call."""
        while time_s >= self._burst_end_s:
            self._plan_burst(self._burst_end_s)
        level = self._DAILY_SHARE * (1 - math.cos(2 * math.pi * (time_s - self._QUIETEST_S) / self._DAY_S)) / 2
        if time_s >= self._burst_start_s:
            level += (1 - level) * self._burst_strength
        return min(self._rate.lowest + (self._rate.highest - self._rate.lowest) * level, self._rate.highest)

    def _plan_burst(self, after_s: float) -> None:
        self._burst_start_s = after_s + self._rng.expovariate(1 / self._BETWEEN_BURSTS_S)
        self._burst_end_s = self._burst_start_s + self._rng.expovariate(1 / self._BURST_S)
        self._burst_strength = self._rng.uniform(0.5, 1)


class Arrivals:
    """A Poisson process whose rate follows the curve, by thinning (Lewis and Shedler, 1979).

    With a fixed rate the gaps do not depend on ``start_ms``; with a range they depend on the time of day.
    """

    def __init__(self, rate: RateRange, start_ms: int, rng: Random) -> None:
        self._rate = rate
        self._start_ms = start_ms
        self._rng = rng
        self._curve = None if rate.lowest == rate.highest else RateCurve(rate, start_ms / 1000, rng)
        self._offset_s = 0.0

    def next_ms(self) -> int:
        """The next arrival, in epoch milliseconds."""
        highest = self._rate.highest
        while True:
            self._offset_s += self._rng.expovariate(highest)
            if self._curve is None:
                break
            if self._rng.random() * highest < self._curve.rate_at(self._start_ms / 1000 + self._offset_s):
                break
        return self._start_ms + round(self._offset_s * 1000)


class Shop:
    """Generates orders: user, product and price.

    User *k* of ``_USERS`` is chosen with a probability near 1 / (k + ``_REGULARS``): one in a hundred users places a quarter
    of the orders, and new users keep appearing.
    """

    _USERS = 20_000
    _REGULARS = 50
    _PRICE_SPREAD = 0.15  # standard deviation, as a share of the product's price

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._tail = 1 + self._USERS / self._REGULARS
        # The last product gets the rest, whatever the rounding of the sums.
        self._bounds = [sum(product.share for product in PRODUCTS[:end]) for end in range(1, len(PRODUCTS))]

    def order(self, at_ms: int) -> Order:
        """An order at ``at_ms`` (epoch milliseconds)."""
        rng = self._rng
        product = PRODUCTS[bisect(self._bounds, rng.random())]
        cents = round(rng.gauss(product.price_cents, self._PRICE_SPREAD * product.price_cents))
        return {
            "order_id": f"{rng.getrandbits(128):032x}",
            "user_id": f"user-{1 + int(self._REGULARS * (self._tail ** rng.random() - 1))}",
            "product_id": product.product_id,
            "amount": min(max(cents, LOWEST_CENTS), HIGHEST_CENTS) / 100,
            "timestamp": at_ms / 1000,
        }
