"""The traffic: arrivals, prices, popularity and returning users, reproducible by a seed."""

from collections import Counter
from itertools import pairwise
from random import Random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.dead_letters import Reason
from libs.events.money import cents_of
from services.generator.order_stream import OrderRecord, OrderStream
from services.generator.traffic import HIGHEST_CENTS, LOWEST_CENTS, PRODUCTS, Arrivals, RateCurve, RateRange, Shop

START_S = 1_767_225_600  # midnight UTC
START_MS = START_S * 1000
DAY_S = 86_400
FIXED = RateRange(50, 50)

seeds = st.integers(0, 2**64)
starts_ms = st.integers(0, 4_102_444_800_000)


def stream(
    seed: int,
    *,
    rate: RateRange = FIXED,
    start_ms: int = START_MS,
    faults: dict[Reason, float] | None = None,
) -> OrderStream:
    return OrderStream(rate=rate, faults=faults or {}, seed=seed, start_ms=start_ms, now_s=start_ms / 1000)


def take(source: OrderStream, count: int) -> list[OrderRecord]:
    return [source.take() for _ in range(count)]


def arrivals_ms(rate: RateRange, *, until_ms: int, seed: int = 1) -> list[int]:
    source = Arrivals(rate, START_MS, Random(seed))
    found = []
    while (at_ms := source.next_ms()) < until_ms:
        found.append(at_ms)
    return found


def test_a_fixed_rate_gives_poisson_arrivals() -> None:
    times_ms = arrivals_ms(RateRange(5, 5), until_ms=START_MS + 10_000_000)
    gaps_s = [(later - earlier) / 1000 for earlier, later in pairwise(times_ms)]
    mean_s = sum(gaps_s) / len(gaps_s)
    variance = sum((gap - mean_s) ** 2 for gap in gaps_s) / len(gaps_s)
    assert mean_s == pytest.approx(1 / 5, rel=0.02)
    # The standard deviation of exponential gaps equals their mean, and they are independent of earlier ones.
    assert variance**0.5 == pytest.approx(mean_s, rel=0.03)
    assert sum(gap > mean_s for gap in gaps_s) / len(gaps_s) == pytest.approx(0.368, abs=0.01)


def test_a_rate_range_follows_the_time_of_day_and_stays_within_its_limits() -> None:
    times_ms = arrivals_ms(RateRange(1, 5), until_ms=START_MS + DAY_S * 1000)
    by_hour = Counter((at_ms - START_MS) // 3_600_000 for at_ms in times_ms)
    rates = [by_hour[hour] / 3600 for hour in range(24)]
    assert min(rates) >= 0.95
    assert max(rates) <= 5.1
    assert rates[16] > 2 * rates[4]


def test_bursts_exceed_the_daily_curve() -> None:
    curve = RateCurve(RateRange(10, 50), START_S, Random(3))
    rates = [curve.rate_at(START_S + 4 * 3600 + second) for second in range(3600)]
    busy = sum(rate > 25 for rate in rates) / len(rates)
    assert min(rates) == pytest.approx(10, abs=0.1)
    assert 0.02 < busy < 0.4


@given(
    seed=seeds,
    lowest=st.floats(0.01, 1000),
    spread=st.floats(1, 100),
    start_ms=starts_ms,
    steps_s=st.lists(st.floats(0, 3600), max_size=50),
)
def test_the_rate_never_leaves_its_range(
    seed: int, lowest: float, spread: float, start_ms: int, steps_s: list[float]
) -> None:
    rate = RateRange(lowest, lowest * spread)
    time_s = start_ms / 1000
    curve = RateCurve(rate, time_s, Random(seed))
    for step_s in steps_s:
        time_s += step_s
        assert rate.lowest <= curve.rate_at(time_s) <= rate.highest


@given(seed=seeds, start_ms=starts_ms, rate=st.sampled_from([RateRange(10, 50), RateRange(2000, 2000)]))
def test_every_order_meets_the_contract(seed: int, start_ms: int, rate: RateRange) -> None:
    source = stream(seed, rate=rate, start_ms=start_ms)
    last_s = start_ms / 1000
    ids = set()
    for _ in range(30):
        due_s = source.due_ms / 1000
        record = source.take()
        assert record.value is not None
        order = orjson.loads(record.value)
        assert list(order) == ["order_id", "user_id", "product_id", "amount", "timestamp"]
        assert record.key.decode() == order["order_id"]
        assert len(order["order_id"]) == 32
        assert order["user_id"].startswith("user-")
        assert order["product_id"] in {product.product_id for product in PRODUCTS}
        cents = cents_of(order["amount"])
        assert cents is not None
        assert LOWEST_CENTS <= cents <= HIGHEST_CENTS
        assert order["timestamp"] == due_s == round(due_s, 3) >= last_s
        last_s = order["timestamp"]
        ids.add(record.key)
    assert len(ids) == 30


def test_products_differ_in_popularity_and_price() -> None:
    shop = Shop(Random(5))
    orders = [shop.order(START_MS) for _ in range(30_000)]
    counts = Counter(order["product_id"] for order in orders)
    assert max(order["amount"] for order in orders) == HIGHEST_CENTS / 100
    for product in PRODUCTS:
        amounts = sorted(order["amount"] for order in orders if order["product_id"] == product.product_id)
        assert counts[product.product_id] / len(orders) == pytest.approx(product.share, abs=0.01)
        assert amounts[len(amounts) // 2] == pytest.approx(product.price_cents / 100, rel=0.02)
        assert amounts[-1] > 1.2 * amounts[len(amounts) // 2]


def test_some_users_order_often_and_many_once() -> None:
    shop = Shop(Random(6))
    visits = Counter(shop.order(START_MS)["user_id"] for _ in range(20_000))
    often = [count for _, count in visits.most_common(200)]
    assert 0.15 < sum(often) / 20_000 < 0.4
    assert often[0] > 30
    assert sum(count == 1 for count in visits.values()) > 1000


@given(seed=seeds, start_ms=starts_ms)
def test_the_same_seed_and_start_give_the_same_records(seed: int, start_ms: int) -> None:
    faults = dict.fromkeys(Reason, 0.05)
    runs = [
        take(stream(seed, rate=RateRange(10, 50), start_ms=start_ms, faults=faults), 40),
        take(stream(seed, rate=RateRange(10, 50), start_ms=start_ms, faults=faults), 40),
    ]
    assert runs[0] == runs[1]


@given(seed=seeds, start_ms=starts_ms, later_ms=starts_ms)
def test_at_a_fixed_rate_another_start_changes_only_the_timestamps(seed: int, start_ms: int, later_ms: int) -> None:
    first, second = stream(seed, start_ms=start_ms), stream(seed, start_ms=later_ms)
    for _ in range(20):
        assert first.due_ms - start_ms == second.due_ms - later_ms
        one, other = (orjson.loads(source.take().value or b"") for source in (first, second))
        del one["timestamp"], other["timestamp"]
        assert one == other


def test_other_seeds_give_other_orders() -> None:
    assert not {record.key for record in take(stream(1), 100)} & {record.key for record in take(stream(2), 100)}


def test_faults_do_not_change_the_other_orders() -> None:
    whole = take(stream(1), 500)
    broken = take(stream(1, faults=dict.fromkeys(Reason, 0.02)), 500)
    assert [record.key for record in broken] == [record.key for record in whole]
    assert all(one == other for one, other in zip(broken, whole, strict=True) if one.fault is None)
    assert any(record.fault for record in broken)
