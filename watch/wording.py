"""Formats numbers, times and messages, the same for a terminal and for a file."""

import time

from libs.events.topics import LATE_ORDERS, ORDERS_DLQ, PRODUCT_METRICS
from libs.printable import printable
from watch.state import State

_REASON_CHARS = 40


def per_second(rate: float | None) -> str:
    """A rate with few significant digits."""
    if rate is None:
        return "…"
    return f"{rate:,.0f}/s" if rate >= 10 or rate == 0 else f"{rate:.1f}/s"


def short(count: int) -> str:
    """A count in at most six characters: 9,999, 85.3k, 1.2M."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1000:.1f}k" if count < 999_950 else f"{count / 1_000_000:.1f}M"


def short_duration(seconds: float) -> str:
    """A duration in at most seven characters, with tenths of a second if it is short."""
    if 0 < seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86_400 else f"{seconds / 86_400:.1f} d"


def lag(state: State, group: str) -> str:
    """A group's lag, and the time that it needs for it."""
    text = time_behind(state, group)
    return f"lag {state.lags[group]:,}" + (f" ({text})" if text not in {"…", "0 s"} else "")


def database(state: State) -> str:
    """The lag of the sink's database."""
    return f"lag {state.database_lag:,}" if state.database_lag else "has every metric"


def time_behind(state: State, group: str) -> str:
    """The time that a group needs for its lag, or why it is unknown; short enough to be shown beside a stage."""
    if state.members.get(group) == 0:
        return "no reader"
    behind_s = state.behind_s(group)
    if behind_s is not None:
        return short_duration(behind_s)
    return "stalled" if state.keeps_up(group) is False else "…"


def duration(seconds: float) -> str:
    """A duration in at most two units of days, hours, minutes and seconds."""
    whole = max(0, round(seconds))
    for unit_s, unit, smaller_s, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // smaller_s
            return f"{whole // unit_s} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def clock(epoch_s: float, now_s: float) -> str:
    """Local time, with the date if it is not today."""
    then, now = time.localtime(epoch_s), time.localtime(now_s)
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", then)


def money(dollars: float) -> str:
    """An amount in dollars and cents."""
    return f"{dollars:,.2f}"


def event_time(state: State, now_s: float) -> str:
    """The watermark, or what it is waiting for."""
    if state.watermark_s is not None:
        if state.is_idle:
            return f"{clock(state.watermark_s, now_s)}; idle: no orders arrive and no window is open"
        behind_s = now_s - state.watermark_s
        return f"{clock(state.watermark_s, now_s)}, {duration(behind_s)} behind the clock"
    if state.sources:
        return f"unknown: no watermark yet from partition {', '.join(map(str, state.silent_sources))} of orders"
    return "unknown: no order has been processed yet"


def outlook(state: State, now_s: float) -> str:
    """When the next window is going to close."""
    which = "next" if state.windows else "first"
    if state.next_close_s is None:
        return f"the {which} window closes when every partition's watermark has passed its end"
    if state.is_idle:
        return "event time continues with the next order"
    text = f"the {which} window to close ends at {clock(state.next_close_s, now_s)}"
    closes_in_s = state.closes_in_s(now_s)
    return text if closes_in_s is None else f"{text}, in about {duration(max(1.0, closes_in_s))}"


def dead_letters(state: State) -> str:
    """The number of dead letters, and their reasons."""
    reasons = ", ".join(
        f"{printable(reason, _REASON_CHARS)} {count:,}" for reason, count in state.dead_letters.most_common()
    )
    return _counted(state, ORDERS_DLQ.name, state.dead_letters.total()) + (f" ({reasons})" if reasons else "")


def late_orders(state: State) -> str:
    """The number of late orders."""
    return _counted(state, LATE_ORDERS.name, state.late)


def metrics(state: State) -> str:
    """The number of metrics, one for each product and window."""
    return f"{state.metrics_count:,}" + ("+" if state.unread[PRODUCT_METRICS.name] else "")


def _counted(state: State, topic: str, count: int) -> str:
    if unread := state.unread[topic]:
        return f"at least {count:,}, and up to {unread:,} older ones that were not counted"
    return f"{count:,}" if count else "none"
