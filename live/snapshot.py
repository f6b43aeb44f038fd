"""The state as JSON for the page: data only; the browser renders texts and times."""

import json
from collections import Counter
from collections.abc import Iterable

from libs.events.money import mean_cents
from libs.events.topics import LATE_ORDERS, ORDERS_DLQ, PRODUCT_METRICS
from watch.observation import Metric
from watch.state import READERS, State, Window

_SHOWN_WINDOWS = 30
_MOST_PRODUCTS = 7

Sales = tuple[int, int, int]
"""Orders, revenue and average order value; money in cents."""

Json = dict[str, object]


def snapshot_json(state: State, now_s: float) -> bytes:
    """``snapshot`` on one line. Not by orjson, which refuses sums of more than 64 bits, and any program may write such metrics."""
    return json.dumps(snapshot(state, now_s), separators=(",", ":")).encode()


def snapshot(state: State, now_s: float) -> Json:
    """Everything that the page shows; times in epoch seconds, durations in seconds, money in cents."""
    return {
        "seen_at_s": state.seen_at_s,
        "age_s": None if state.seen_at_s is None else max(0.0, now_s - state.seen_at_s),
        "now_s": now_s,
        "waiting_for": state.waiting_for,
        "window_s": state.window_seconds,
        "orders": {"count": state.orders, "written": state.orders_written, "per_s": state.orders_rate.per_s},
        "accepted": {"per_s": state.accepted_rate.per_s},
        "metrics": {"count": state.metrics_count, "uncounted": state.unread[PRODUCT_METRICS.name]},
        "stages": {group: _stage(state, group) for group in READERS.values()} if state.lags else {},
        "database_lag": state.database_lag,
        "output_lags": state.output_lags,
        "event_time": {
            "watermark_s": state.watermark_s,
            "partitions": state.sources,
            "silent_partitions": state.silent_sources,
            "next_close_s": state.next_close_s,
            "closes_in_s": state.closes_in_s(now_s),
            "idle": state.is_idle,
        },
        "dead_letters": {
            "count": state.dead_letters.total(),
            "uncounted": state.unread[ORDERS_DLQ.name],
            "reasons": dict(state.dead_letters.most_common()),
        },
        "late_orders": {"count": state.late, "uncounted": state.unread[LATE_ORDERS.name]},
        "sales": sales(state),
    }


def _stage(state: State, group: str) -> Json:
    return {
        "lag": state.lags[group],
        "blocked": state.blocked[group],
        "behind_s": state.behind_s(group),
        "keeps_up": state.keeps_up(group),
        "members": state.members.get(group),
    }


def sales(state: State) -> Json:
    """The newest windows, oldest first, each with the total sales and those of the listed products.

    The best-selling products are listed; if there are more than a page can show, the others are summed up. A product
    without sales in a window has zeros. A window that is not ``whole`` may have more sales than those that were read.
    """
    windows = _shown(state)
    revenue: Counter[str] = Counter()
    for _, metrics in windows:
        for product, metric in metrics.items():
            revenue[product] += _cents(metric.total_revenue)
    ranked = sorted(revenue, key=lambda product: (-revenue[product], product))
    named = sorted(ranked if len(ranked) <= _MOST_PRODUCTS + 1 else ranked[:_MOST_PRODUCTS])
    others = len(ranked) - len(named)
    return {
        "products": named,
        "others": others,
        "windows": [
            {
                "start_s": start_s,
                "end_s": end_s,
                "whole": state.is_whole((start_s, end_s)),
                "all": _total(metrics.values()),
                "each": [
                    *(_total([metrics[product]] if product in metrics else []) for product in named),
                    *(
                        [_total(metric for product, metric in metrics.items() if product not in named)]
                        if others
                        else []
                    ),
                ],
            }
            for (start_s, end_s), metrics in windows
        ],
    }


def _shown(state: State) -> list[tuple[Window, dict[str, Metric]]]:
    """The newest windows (half an hour with windows of a minute), with empty ones for gaps, as a plot needs them."""
    if not state.windows:
        return []
    newest_end_s = next(reversed(state.windows))[1]
    first_s = newest_end_s - _SHOWN_WINDOWS * state.window_seconds
    return [(window, metrics) for window, metrics in state.windows.items() if window[0] >= first_s]


def _total(metrics: Iterable[Metric]) -> Sales:
    orders = revenue = 0
    for metric in metrics:
        orders += metric.order_count
        revenue += _cents(metric.total_revenue)
    return orders, revenue, mean_cents(revenue, orders) if orders else 0


def _cents(dollars: float) -> int:
    return round(dollars * 100)  # made of whole cents
