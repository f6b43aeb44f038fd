import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.events.money import cents_of_computed
from verification.reference_processor import ReferenceProcessor, cents_of, cents_sent
from verification.strict_json import Literal

REFERENCE = ReferenceProcessor(
    {"prod-1": {"product_name": "Lamp", "category": "Home"}, "prod-2": {"product_name": "Ünit", "rank": Literal("2")}}
)
NOW_S = 1_700_000_000.0


def raw(**changes: Any) -> bytes:
    fields = {"order_id": "o1", "user_id": "u1", "product_id": "prod-1", "amount": 12.34, "timestamp": NOW_S} | changes
    return json.dumps({name: value for name, value in fields.items() if value != "-"}).encode()


def with_amount(literal: str) -> bytes:
    return raw().replace(b"12.34", literal.encode())


def with_timestamp(literal: str) -> bytes:
    return raw().replace(b"1700000000.0", literal.encode())


def reasons(value: bytes | None) -> set[str]:
    outcome = REFERENCE.allowed_outcome(value, NOW_S, NOW_S)
    assert (outcome.order is None) == bool(outcome.reasons)
    return set(outcome.reasons)


@pytest.mark.parametrize(
    "value",
    [
        raw(),
        raw(amount=1),
        raw(order_id="o" * 64, user_id="\u00fc" * 64),
        raw(timestamp=0),
        raw(timestamp=NOW_S + 60),
        raw(note={"deep": [1, None, "NaN"]}),
        with_amount("12.340"),
        with_amount("1234e-2"),
        with_amount("12.340000000000000001"),  # the double nearest to it is 12.34
        with_amount("100000000000"),
        with_timestamp("-0.0"),
        b" \n" + raw() + b"\t ",
    ],
)
def test_an_order_is_valid(value: bytes) -> None:
    assert reasons(value) == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {"malformed"}),
        (b"", {"malformed"}),
        (b"[]", {"malformed"}),
        (b"null", {"malformed"}),
        (raw()[:-1], {"malformed"}),
        (raw() + b"{}", {"malformed"}),
        (raw()[:-1] + b', "amount": 12.34}', {"malformed"}),
        (raw()[:-1] + b', "x": {"y": 1, "y": 1}}', {"malformed"}),
        (b"\xef\xbb\xbf" + raw(), {"malformed"}),
        (raw(order_id="ab").replace(b"ab", b"\xff"), {"malformed"}),
        (raw(order_id="ab").replace(b"ab", b"\\ud800"), {"malformed"}),
        (raw(order_id="ab").replace(b"ab", b"a\nb"), {"malformed"}),
        (raw().decode().encode("utf-16"), {"malformed"}),
        (with_amount("NaN"), {"malformed"}),
        (with_amount("-Infinity"), {"malformed"}),
        (with_amount("012.34"), {"malformed"}),
        (b"[" * 100_000, {"malformed"}),
        (raw(order_id="-"), {"missing_field"}),
        (raw(timestamp="-"), {"missing_field"}),
        (raw(order_id="-", amount="1"), {"missing_field", "wrong_type"}),
        (raw(amount="12.34"), {"wrong_type"}),
        (raw(amount=True), {"wrong_type"}),
        (raw(amount=None), {"wrong_type"}),
        (raw(user_id=7), {"wrong_type"}),
        (raw(timestamp="2024"), {"wrong_type"}),
        (raw(timestamp=[NOW_S]), {"wrong_type"}),
        (raw(order_id=""), {"invalid_id"}),
        (raw(user_id="u" * 65), {"invalid_id"}),
        (raw(product_id="prod-9"), {"unknown_product"}),
        (raw(product_id=""), {"unknown_product", "invalid_id"}),
        (raw(amount=0), {"invalid_amount"}),
        (raw(amount=-5), {"invalid_amount"}),
        (raw(amount=0.001), {"invalid_amount"}),
        (with_amount("12.345"), {"invalid_amount"}),
        (with_amount("100000000000.01"), {"invalid_amount"}),
        (with_amount("1e999"), {"invalid_amount", "malformed"}),
        (with_amount("1e-999"), {"invalid_amount"}),
        (raw(timestamp=-0.5), {"invalid_timestamp"}),
        (raw(timestamp=NOW_S + 60.5), {"future_timestamp"}),
        (with_timestamp("1e999"), {"future_timestamp", "malformed"}),
        (raw(amount=0, order_id=""), {"invalid_amount", "invalid_id"}),
    ],
)
def test_a_faulty_record_has_every_reason_that_applies(value: bytes | None, expected: set[str]) -> None:
    assert reasons(value) == expected


def test_a_timestamp_between_the_two_limits_is_undecided() -> None:
    outcome = REFERENCE.allowed_outcome(raw(timestamp=NOW_S + 100), NOW_S, NOW_S + 50)
    assert outcome.order is not None
    assert outcome.reasons == {"future_timestamp"}


def test_a_number_too_large_for_a_double_may_be_kept_or_rejected() -> None:
    outcome = REFERENCE.allowed_outcome(raw()[:-1] + b', "x": [{"y": -1e999}]}', NOW_S, NOW_S)
    assert outcome.order is not None
    assert outcome.reasons == {"malformed"}


def processed(value: bytes, **more: Any) -> bytes:
    return json.dumps({**json.loads(value), "product_name": "Lamp", "category": "Home"} | more).encode()


@pytest.mark.parametrize(
    ("order", "enriched"),
    [
        (raw(), processed(raw())),
        (with_amount("12.340"), processed(raw())),
        (with_timestamp("1700000000"), processed(raw())),
        (with_timestamp("-0.0"), processed(raw(timestamp=0))),
        (raw(note={"b": 1, "a": "\u00fc"}), processed(raw(), note={"a": "\u00fc", "b": 1.0})),
        (raw(product_name="mine", category=None), processed(raw())),
        (raw(product_id="prod-2"), raw(product_id="prod-2", product_name="\u00dcnit", rank=2)),
    ],
)
def test_equal_orders_with_different_encodings_are_equal(order: bytes, enriched: bytes) -> None:
    expected = REFERENCE.allowed_outcome(order, NOW_S, NOW_S).order
    assert expected
    assert REFERENCE.processed(enriched) == expected


@pytest.mark.parametrize(
    "enriched",
    [
        processed(raw(), product_name="Desk"),
        processed(raw(), category=None),
        processed(raw(), extra=1),
        processed(raw(amount=12.35)),
        processed(raw(timestamp=NOW_S + 0.001)),
        processed(raw(order_id="o1u", user_id="1")),
        raw(),
    ],
)
def test_another_order_or_enrichment_is_different(enriched: bytes) -> None:
    assert REFERENCE.processed(enriched) != REFERENCE.allowed_outcome(raw(), NOW_S, NOW_S).order


def test_ids_are_not_just_concatenated() -> None:
    one = REFERENCE.processed(processed(raw(order_id="o", user_id="prod-1u")))
    assert one != REFERENCE.processed(processed(raw(order_id="oprod-1", user_id="u")))


@pytest.mark.parametrize("value", [None, b"{", raw(amount="-"), raw(amount="1"), raw(amount=0.001), raw(user_id=1)])
def test_an_invalid_processed_order_is_rejected(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r".+"):
        REFERENCE.processed(value)


@pytest.mark.parametrize(
    ("dollars", "cents"),
    [(0.1 + 0.2, None), (0.3, 30), (-1.25, -125), (4.35, 435), (1e11, 10**13), (1e300, None), (float("inf"), None)],
)
def test_cents_come_from_the_shortest_decimal(dollars: float, cents: int | None) -> None:
    assert cents_of(dollars) == cents


@given(
    st.floats(allow_nan=False)
    | st.integers(-(10**14), 10**14).map(lambda cents: cents / 100)
    | st.builds(
        lambda cents, ulps: cents / 100 + ulps * math.ulp(cents / 100),
        st.integers(1, 10**13),
        st.integers(-500, 500),
    )
    | st.builds(lambda digits, decimals: digits / 10**decimals, st.integers(0, 10**17), st.integers(0, 20))
)
@example(999.999999999995)
@example(1000.0)
@example(1e11 + 0.001)
@example(5e-324)
@example(5e-12)
def test_services_and_verification_read_amounts_equally(dollars: float) -> None:
    expected = cents_sent(dollars)
    assert cents_of_computed(dollars) == (expected if expected is None or abs(expected) <= 10**13 else None)


def test_an_order_with_a_rounding_error_must_be_processed_as_exact_cents() -> None:
    sent = REFERENCE.allowed_outcome(raw(amount=863.3700000000001), NOW_S, NOW_S).order
    assert sent is not None
    assert sent.cents == 86_337
    assert REFERENCE.processed(processed(raw(amount=863.37))) == sent
    with pytest.raises(ValueError, match="sub-cent"):
        REFERENCE.processed(processed(raw(amount=863.3700000000001)))
