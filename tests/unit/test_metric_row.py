"""Decoding a metric from its record: exactly, or rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow, ProductMetric, decode_metric, encode_metric

IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=64)


@given(
    start=st.integers(0, 10**10),
    length=st.integers(1, 10**6),
    product_id=IDS,
    count=st.integers(1, 10**9),
    cents=st.integers(0, 10**15 - 1) | st.integers(10**15, 10**18 - 1),  # a double has 15 digits
)
def test_encoded_metrics_are_decoded_to_the_same_values(
    start: int, length: int, product_id: str, count: int, cents: int
) -> None:
    metric = ProductMetric(start, start + length, product_id, count, cents)
    assert decode_metric(encode_metric(metric)) == MetricRow(*metric, mean_cents(cents, count))


def text(**changes: str) -> bytes:
    fields = {
        "window_start": "60",
        "window_end": "120",
        "product_id": '"p"',
        "order_count": "3",
        "total_revenue": "10.5",
        "avg_order_value": "3.5",
    } | changes
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items() if value) + "}").encode()


@pytest.mark.parametrize(
    ("literal", "cents"),
    [
        ("0", 0),
        ("1e2", 10_000),
        ("-5.25", -525),
        ("2173.43", 217_343),
        ("90071992547409.93", 9_007_199_254_740_993),
        ("9999999999999999.99", 10**18 - 1),
    ],
)
def test_amounts_beyond_float_precision_are_exact(literal: str, cents: int) -> None:
    assert decode_metric(text(total_revenue=literal)).revenue_cents == cents


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b"\xff",
        text(window_start=""),
        text(window_start="60.5"),
        text(window_start="-60"),
        text(window_end="60"),
        text(window_end="253402300800"),
        text(product_id="5"),
        text(product_id='""'),
        text(product_id='"a\\u0000"'),
        text(product_id='"\\ud800"'),
        text(product_id=f'"{"p" * 65}"'),
        text(order_count="0"),
        text(order_count="true"),
        text(order_count=str(2**63)),
        text(total_revenue='"10"'),
        text(total_revenue="0.001"),
        text(total_revenue="1e16"),
        text(total_revenue="1e400"),
        text(avg_order_value="123456789012.345"),
        text(avg_order_value="NaN"),
    ],
)
def test_invalid_metrics_are_rejected(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_metric(value)


def test_other_fields_are_ignored() -> None:
    assert decode_metric(text(more='{"a": [1, 2]}')) == MetricRow(60, 120, "p", 3, 1050, 350)
