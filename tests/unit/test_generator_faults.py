"""Each kind of fault damages an order as its name says, and in no other way."""

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.dead_letters import Reason
from services.generator.faults import KINDS, FaultInjector
from services.generator.traffic import PRODUCTS, Order, Shop

NOW_S = 1_767_225_600.0
HOURS_S = 3600.0
KNOWN = {product.product_id for product in PRODUCTS}
TYPES = {"order_id": (str,), "user_id": (str,), "product_id": (str,), "amount": (int, float), "timestamp": (int, float)}

seeds = st.integers(0, 2**64)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a field is repeated"
    return dict(pairs)


def faults_of(value: bytes | None) -> set[Reason]:
    """All problems of a record's value, by the test's own rules."""
    try:
        fields = json.loads((value or b"").decode(), object_pairs_hook=_unique)
    except (ValueError, AssertionError):
        return {Reason.MALFORMED}
    if not isinstance(fields, dict):
        return {Reason.MALFORMED}
    found = {Reason.MISSING_FIELD for name in TYPES if name not in fields}
    found |= {Reason.WRONG_TYPE for name, types in TYPES.items() if name in fields and type(fields[name]) not in types}
    if found:
        return found
    if not all(1 <= len(fields[name]) <= 64 for name in ("order_id", "user_id")):
        found.add(Reason.INVALID_ID)
    if fields["product_id"] not in KNOWN:
        found.add(Reason.UNKNOWN_PRODUCT)
    cents = fields["amount"] * 100
    if not 0 < cents < 10**13 or abs(cents - round(cents)) > 0.001:
        found.add(Reason.INVALID_AMOUNT)
    if fields["timestamp"] < 0:
        found.add(Reason.INVALID_TIMESTAMP)
    if fields["timestamp"] > NOW_S + 2 * HOURS_S:
        found.add(Reason.FUTURE_TIMESTAMP)
    return found


def order(seed: int, at_s: float = NOW_S) -> Order:
    return Shop(Random(seed)).order(round(at_s * 1000))


@given(seed=seeds)
def test_the_checker_accepts_a_valid_order(seed: int) -> None:
    assert faults_of(json.dumps(order(seed)).encode()) == set()


@pytest.mark.parametrize("reason", KINDS)
@given(seed=seeds, age_s=st.integers(0, 10 * 365 * 86_400))
def test_each_kind_of_fault_causes_its_own_problem_only(reason: Reason, seed: int, age_s: int) -> None:
    injector = FaultInjector({reason: 1.0}, NOW_S, Random(seed))
    assert injector.choose() is reason
    assert faults_of(injector.inject(order(seed, NOW_S - age_s), reason)) == {reason}


@pytest.mark.parametrize(
    ("reason", "variants"),
    [
        (Reason.MALFORMED, 5),
        (Reason.MISSING_FIELD, 5),
        (Reason.WRONG_TYPE, 6),
        (Reason.INVALID_ID, 6),
        (Reason.UNKNOWN_PRODUCT, 3),
        (Reason.INVALID_AMOUNT, 4),
    ],
)
def test_each_kind_has_variants(reason: Reason, variants: int) -> None:
    injector = FaultInjector({}, NOW_S, Random(1))
    values = {injector.inject(order(1), reason) for _ in range(200)}
    assert len(values) == variants


def test_malformed_orders_include_invalid_utf8() -> None:
    injector = FaultInjector({}, NOW_S, Random(1))
    values = [injector.inject(order(1), Reason.MALFORMED) for _ in range(100)]
    assert any(value is not None and b"\xff" in value for value in values)


def test_faults_occur_in_their_configured_shares() -> None:
    shares = {Reason.MALFORMED: 0.1, Reason.UNKNOWN_PRODUCT: 0.02, Reason.INVALID_ID: 0.0}
    injector = FaultInjector(shares, NOW_S, Random(1))
    counts = Counter(injector.choose() for _ in range(50_000))
    assert counts[Reason.MALFORMED] / 50_000 == pytest.approx(0.1, abs=0.005)
    assert counts[Reason.UNKNOWN_PRODUCT] / 50_000 == pytest.approx(0.02, abs=0.003)
    assert set(counts) == {Reason.MALFORMED, Reason.UNKNOWN_PRODUCT, None}


def test_without_shares_every_order_is_valid() -> None:
    injector = FaultInjector({}, NOW_S, Random(1))
    assert {injector.choose() for _ in range(1000)} == {None}
