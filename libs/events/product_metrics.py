"""``product-metrics``: the totals of one product in one closed window."""

from decimal import Decimal
from typing import NamedTuple

import msgspec
import orjson

from libs.events.money import cents_of, dollars_of, mean_cents

LAST_SECOND = 253_402_300_799
"""The last second of the year 9999: neither the databases nor the file names can represent a later time."""
# The range of PostgreSQL's numeric(18,2), so that every total fits into the sink's table.
_MOST_CENTS = 10**18
_MOST_ORDERS = 2**63
_LONGEST_ID_CHARS = 64
_NOT_EXACT_IN_FLOATS = 1e11  # dollars
_EXACT_IN_FLOATS_CENTS = 10**15 - 1  # a double has 15 digits, whatever they are


class ProductMetric(NamedTuple):
    """One product's total in one window; times in whole epoch seconds, ``[window_start, window_end)``."""

    window_start: int
    window_end: int
    product_id: str
    order_count: int
    revenue_cents: int


class MetricRow(NamedTuple):
    """A metric as it was written, the average included; times in whole epoch seconds, ``[window_start, window_end)``."""

    window_start: int
    window_end: int
    product_id: str
    order_count: int
    revenue_cents: int
    average_cents: int


def encode_metric(metric: ProductMetric) -> bytes:
    """The record's JSON value, its fields in the order of the contract."""
    return orjson.dumps(
        {
            "window_start": metric.window_start,
            "window_end": metric.window_end,
            "product_id": metric.product_id,
            "order_count": metric.order_count,
            "total_revenue": _dollars(metric.revenue_cents),
            "avg_order_value": _dollars(mean_cents(metric.revenue_cents, metric.order_count)),
        }
    )


def _dollars(cents: int) -> float | orjson.Fragment:
    """The JSON number, exact to the cent whatever the sum."""
    return dollars_of(cents) if cents <= _EXACT_IN_FLOATS_CENTS else orjson.Fragment(b"%d.%02d" % divmod(cents, 100))


class _Fields(msgspec.Struct, gc=False):
    window_start: int
    window_end: int
    product_id: str
    order_count: int
    total_revenue: float
    avg_order_value: float


class _LargeAmounts(msgspec.Struct):
    total_revenue: Decimal
    avg_order_value: Decimal


_fields_decoder = msgspec.json.Decoder(_Fields)
_amounts_decoder = msgspec.json.Decoder(_LargeAmounts)


def decode_metric(value: bytes | None) -> MetricRow:
    """The metric in a record's value; raises ``ValueError`` saying what violates the contract.

    Fields that are not in the contract are ignored. Amounts are exact, also where a float would not be.
    """
    try:
        fields = _fields_decoder.decode(value or b"")
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error
    start, end = fields.window_start, fields.window_end
    if not 0 <= start < end <= LAST_SECOND:
        raise ValueError(f"there is no window from {start} to {end}")
    product_id = fields.product_id
    if not 0 < len(product_id) <= _LONGEST_ID_CHARS or "\0" in product_id:
        raise ValueError(f"product_id is not 1 to {_LONGEST_ID_CHARS} characters of text")
    if not 0 < fields.order_count < _MOST_ORDERS:
        raise ValueError(f"order_count is {fields.order_count}")
    revenue, average = cents_of(fields.total_revenue), cents_of(fields.avg_order_value)
    if revenue is None or average is None:
        revenue, average = _large_amounts(value or b"", fields)
    return MetricRow(start, end, product_id, fields.order_count, revenue, average)


def _large_amounts(value: bytes, fields: _Fields) -> tuple[int, int]:
    if max(abs(fields.total_revenue), abs(fields.avg_order_value)) >= _NOT_EXACT_IN_FLOATS:
        amounts = _amounts_decoder.decode(value)
        cents = [amount.scaleb(2) for amount in (amounts.total_revenue, amounts.avg_order_value)]
        if all(abs(each) < _MOST_CENTS and each == int(each) for each in cents):
            return int(cents[0]), int(cents[1])
    raise ValueError("total_revenue and avg_order_value are not dollars with at most two decimals, below 10^16")
