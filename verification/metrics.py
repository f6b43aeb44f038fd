"""Reads metrics: the records of ``product-metrics`` and the lines of the file."""

from decimal import Context, Decimal
from typing import NamedTuple

from verification.reference_processor import cents_of
from verification.strict_json import number, parse_object
from verification.window_sums import Window

_FIELDS = ["window_start", "window_end", "product_id", "order_count", "total_revenue", "avg_order_value"]

_EXACT_IN_FLOATS = 1e13  # dollars

_MOST_DOLLARS = 10**16  # no database takes so many

_EXACT = Context(prec=1200)


class Metric(NamedTuple):
    """A record of ``product-metrics``, a line of the file or a row of the database; times in epoch seconds."""

    window_start: int
    window_end: int
    product_id: str
    order_count: int
    revenue_cents: int
    average_cents: int

    @property
    def window(self) -> Window:
        return self.product_id, self.window_start


class PlacedMetric(NamedTuple):
    """A metric and its record's place in ``product-metrics``."""

    partition: int
    offset: int
    metric: Metric


def read_metric_record(key: bytes | None, value: bytes | None, window_seconds: int) -> Metric:
    """The metric in a record of ``product-metrics``; raises ``ValueError``."""
    metric = read_metric(value, window_seconds)
    if key != metric.product_id.encode():
        raise ValueError(f"its key is {key!r}")
    return metric


def read_metric(value: bytes | None, window_seconds: int) -> Metric:
    """The metric in a record's value or a line; raises ``ValueError`` saying what violates the contract."""
    fields = parse_object(value)
    if sorted(fields) != sorted(_FIELDS):
        raise ValueError(f"fields are {list(fields)}")
    start, end, product_id, count, revenue, average = (fields[name] for name in _FIELDS)
    if type(product_id) is not str:
        raise ValueError("product_id is no string")
    whole = [int(each) for each in (start, end, count) if type(each) is not str and str(each).isdecimal()]
    if len(whole) != 3:
        raise ValueError("window_start, window_end and order_count are not whole numbers")
    revenue_cents, average_cents = _cents_written(revenue), _cents_written(average)
    if revenue_cents is None or average_cents is None:
        raise ValueError("total_revenue and avg_order_value are not amounts with at most two decimals")
    if whole[0] % window_seconds or whole[1] != whole[0] + window_seconds:
        raise ValueError(f"not a window of {window_seconds} s")
    return Metric(whole[0], whole[1], product_id, whole[2], revenue_cents, average_cents)


def _cents_written(value: object) -> int | None:
    """Whole cents of a number as it was written: a sum may have more digits than a double."""
    dollars = number(value)
    if dollars is None or abs(dollars) < _EXACT_IN_FLOATS:
        return None if dollars is None else cents_of(dollars)
    if abs(dollars) > _MOST_DOLLARS:
        return None
    cents = _EXACT.scaleb(Decimal(str(value)), 2)
    return int(cents) if cents == int(cents) and abs(cents) < 100 * _MOST_DOLLARS else None
