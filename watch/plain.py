"""The state as lines of text, for an output that is not a terminal."""

from libs.printable import printable
from watch.observation import Metric
from watch.state import State
from watch.wording import clock, database, dead_letters, event_time, lag, late_orders, money, outlook, per_second


def status_line(state: State, now_s: float) -> str:
    """The whole state in one line."""
    if state.waiting_for:
        return f"{clock(now_s, now_s)} waiting for {state.waiting_for}"
    stages = [
        f"orders {per_second(state.orders_rate.per_s)}, up to {state.orders:,} in all",
        f"processor {per_second(state.accepted_rate.per_s)} accepted, {lag(state, 'processor')}",
        f"analytics {lag(state, 'analytics')}",
        f"sink {lag(state, 'sink')}",
    ]
    facts = [
        f"event time {event_time(state, now_s)}; {outlook(state, now_s)}",
        f"dead letters {dead_letters(state)}",
        f"late orders {late_orders(state)}",
    ]
    if state.database_lag is not None:
        facts.append(f"database {database(state)}")
    return f"{clock(now_s, now_s)} {' → '.join(stages)} | {' | '.join(facts)}"


def metric_line(metric: Metric, now_s: float) -> str:
    """The sales of one product in a closed window."""
    return (
        f"closed {clock(metric.window_start, now_s)} to {clock(metric.window_end, now_s)} {printable(metric.product_id)}:"
        f" {metric.order_count:,} orders, revenue {money(metric.total_revenue)}, average {money(metric.avg_order_value)}"
    )
