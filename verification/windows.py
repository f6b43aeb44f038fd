"""Compares the expected metric of each product and window with ``product-metrics``, the file and the database."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

from verification.history import WHOLE, History
from verification.reference_processor import Order, cents_of
from verification.report import Damage, NotVerified, Report
from verification.strict_json import number, parse_object

_FIELDS = ["window_start", "window_end", "product_id", "order_count", "total_revenue", "avg_order_value"]

_EXACT_IN_FLOATS = 1e13  # dollars
_MOST_DOLLARS = 10**16  # no database takes so many
_EXACT = Context(prec=1200)

Window = tuple[str, int]
"""(product, start in epoch seconds)"""


class Total(NamedTuple):
    """Orders and cents."""

    orders: int = 0
    cents: int = 0

    def minus(self, other: "Total") -> "Total":
        return Total(self.orders - other.orders, self.cents - other.cents)


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


class OutputDamage(NamedTuple):
    """The differences between an output and the topic, as the report names them."""

    missing: Damage
    duplicated: Damage
    unexpected: Damage
    behind: Damage


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


class WindowSums:
    """The sums of the orders of each product and window, in whole cents, and of the late ones among them."""

    def __init__(self, window_seconds: int) -> None:
        self.window_seconds = window_seconds
        self._accepted: dict[Window, list[int]] = {}
        self._late: dict[Window, list[int]] = {}

    def window_of(self, order: Order) -> Window:
        return order.product_id, int(order.timestamp_s) // self.window_seconds * self.window_seconds

    def end_of(self, order: Order) -> int:
        return self.window_of(order)[1] + self.window_seconds

    def accept(self, order: Order) -> None:
        _add(self._accepted, self.window_of(order), order.cents)

    def take_back(self, order: Order) -> None:
        _add(self._accepted, self.window_of(order), -order.cents, orders=-1)

    def late(self, order: Order) -> None:
        _add(self._late, self.window_of(order), order.cents)

    def expected(self) -> dict[Window, Total]:
        """The expected metric of each window once it is closed; a window with only late orders has none."""
        totals = {window: self.accepted_in(window).minus(self.late_in(window)) for window in self._accepted}
        return {window: total for window, total in totals.items() if total.orders}

    def accepted_in(self, window: Window) -> Total:
        return Total(*self._accepted.get(window, ()))

    def late_in(self, window: Window) -> Total:
        return Total(*self._late.get(window, ()))

    def accepted_count(self) -> int:
        return sum(count for count, _ in self._accepted.values())

    def late_count(self) -> int:
        return sum(count for count, _ in self._late.values())

    def windows(self) -> set[Window]:
        return set(self._accepted)

    def forget(self, window: Window) -> None:
        """Expect nothing of this window any more."""
        self._accepted.pop(window, None)
        self._late.pop(window, None)


def check_metrics(
    sums: WindowSums,
    metrics: list[Metric],
    newer: set[Window],
    closed: Mapping[Window, bool],
    report: Report,
    history: History = WHOLE,
) -> None:
    """Compare ``metrics`` with the sums.

    Args:
        sums: the sums of the orders that the analytics has read.
        metrics: the content of ``product-metrics`` before those orders were counted.
        newer: windows that were closed since; their orders may have arrived since, too.
        closed: for each window of the sums, whether every source has passed its end.
        report: gets the differences and the counts.
        history: determines the windows that cannot be verified.
    """
    left_out = _leave_out(sums, metrics, closed, report, history)
    expected = sums.expected()
    seen: set[Window] = set()
    for metric in metrics:
        window = metric.window
        if window in left_out or not history.has_all_orders_of(window[1]):
            continue
        right = expected.get(window)
        report.in_closed_windows += metric.order_count
        if window in seen:
            damage, detail = Damage.WINDOW_DUPLICATED, "once more"
        elif right is None:
            damage, detail = Damage.WINDOW_UNEXPECTED, f"{metric.order_count} orders"
        elif (problem := _difference(metric, right)) is not None:
            damage, detail = Damage.WINDOW_WRONG, problem
        else:
            seen.add(window)
            continue
        seen.add(window)
        report.found(damage, f"{_describe(window)}: {detail}")
        report.wrong_windows.append(window)
    report.closed_windows = len(seen)
    for window in sorted(expected.keys() - seen, key=lambda each: (each[1], each[0])):
        report.open_windows += 1
        report.in_open_windows += expected[window].orders
        if window not in newer and closed.get(window, False):
            report.found(Damage.WINDOW_MISSING, f"{_describe(window)}: {expected[window].orders} orders")
            report.wrong_windows.append(window)
    report.accepted = sums.accepted_count()
    report.late = sums.late_count()


def _leave_out(
    sums: WindowSums, metrics: list[Metric], closed: Mapping[Window, bool], report: Report, history: History
) -> set[Window]:
    """Remove the windows from ``sums`` that cannot be verified because of ``history``; counts and returns them."""
    left_out: set[Window] = set()
    counted = {metric.window: metric.order_count for metric in metrics}
    for window, right in sums.expected().items():
        end_s = window[1] + sums.window_seconds
        late_may_be_missing = counted.get(window, 0) < right.orders and not history.has_late_orders_of(window[0], end_s)
        if (
            not history.has_all_orders_of(window[1])
            or (window in counted and late_may_be_missing)
            or (window not in counted and closed.get(window, False) and late_may_be_missing)
            or (window not in counted and not history.has_metric_of(window[0], end_s))
        ):
            sums.forget(window)
            left_out.add(window)
            report.not_verified[NotVerified.WINDOW] += 1
    for window in sums.windows():
        if not history.has_all_orders_of(window[1]):
            sums.forget(window)  # all of its remaining orders were late
    return left_out


def check_output(
    written: Counter[Metric],
    metrics: Counter[Metric],
    newer: Counter[Metric],
    kinds: OutputDamage,
    report: Report,
    history: History = WHOLE,
) -> None:
    """Compare an output with the topic: it has to have each of ``metrics`` once, each of ``newer`` at most once."""
    for metric in (metrics - written).elements():
        report.found(kinds.missing, _describe(metric.window))
    for metric, count in (written - metrics - newer).items():
        known = metric in metrics or metric in newer
        if not known and count == 1 and not history.has_metric_of(metric.product_id, metric.window_end):
            report.not_verified[NotVerified.METRIC] += 1
            continue
        report.found(kinds.duplicated if known else kinds.unexpected, _describe(metric.window), count)


def not_reached_by_sink(
    written: Counter[Metric],
    placed: Iterable[PlacedMetric],
    committed: Mapping[int, int],
    ends: Mapping[int, int],
) -> Counter[Metric]:
    """The metrics before ``ends`` that an output does not have because its sink has not read so far.

    The sink has written all metrics of a partition before the offset that it has ``committed``, and before any metric that
    is in the output: it writes in the order of offsets. ``placed`` has the metrics of each partition in this order.
    """
    left = written.copy()
    after_last: dict[int, list[Metric]] = {}
    for partition, offset, metric in placed:
        if left[metric] > 0:
            left[metric] -= 1
            after_last.pop(partition, None)
        elif committed.get(partition, 0) <= offset < ends[partition]:
            after_last.setdefault(partition, []).append(metric)
    return Counter(metric for metrics in after_last.values() for metric in metrics)


def moved_away(
    written: Counter[Metric], placed: Iterable[PlacedMetric], live_begins: Mapping[int, int]
) -> Counter[Metric]:
    """The metrics that may have been in finished files, if the oldest ones are no longer there.

    These are the metrics of a partition before its first one in the files that are left, and before ``live_begins``, where the live file
    begins. ``placed`` has the metrics of each partition in the order of offsets, in which the sink writes them.
    """
    left = written.copy()
    found: set[int] = set()
    moved: Counter[Metric] = Counter()
    for partition, offset, metric in placed:
        if left[metric] > 0:
            left[metric] -= 1
            found.add(partition)
        elif partition not in found and offset < live_begins.get(partition, 0):
            moved[metric] += 1
    return moved


def mean_cents(total: Total) -> int:
    """The average in cents, rounded half to even."""
    below, remainder = divmod(total.cents, total.orders)
    doubled = 2 * remainder
    return below + (doubled > total.orders or (doubled == total.orders and below % 2 == 1))


def _difference(metric: Metric, right: Total) -> str | None:
    said = (metric.order_count, metric.revenue_cents, metric.average_cents)
    summed = (right.orders, right.cents, mean_cents(right))
    return None if said == summed else f"says (orders, cents, average cents) {said}, summed {summed}"


def _add(totals: dict[Window, list[int]], window: Window, cents: int, orders: int = 1) -> None:
    total = totals.setdefault(window, [0, 0])
    total[0] += orders
    total[1] += cents


def _describe(window: Window) -> str:
    product, start = window
    return f"{product} from {start}"
