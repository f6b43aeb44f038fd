"""``product-metrics``: what one product sold in one closed window."""

from typing import NamedTuple

import orjson

from libs.events.money import dollars_of, mean_cents


class ProductMetric(NamedTuple):
    """One product's total in one window; times in whole epoch seconds, ``[window_start, window_end)``."""

    window_start: int
    window_end: int
    product_id: str
    order_count: int
    revenue_cents: int


def encode_metric(metric: ProductMetric) -> bytes:
    """The record's JSON value, its fields in the order of the contract."""
    return orjson.dumps(
        {
            "window_start": metric.window_start,
            "window_end": metric.window_end,
            "product_id": metric.product_id,
            "order_count": metric.order_count,
            "total_revenue": dollars_of(metric.revenue_cents),
            "avg_order_value": dollars_of(mean_cents(metric.revenue_cents, metric.order_count)),
        }
    )
