"""Compares the expected metric of each product and window with ``product-metrics``."""

from collections.abc import Mapping

from verification.history import WHOLE, History
from verification.metrics import Metric
from verification.report import Damage, NotVerified, Report
from verification.window_sums import Total, Window, WindowSums, describe_window, mean_cents


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
        report.found(damage, f"{describe_window(window)}: {detail}")
        report.wrong_windows.append(window)
    report.closed_windows = len(seen)
    for window in sorted(expected.keys() - seen, key=lambda each: (each[1], each[0])):
        report.open_windows += 1
        report.in_open_windows += expected[window].orders
        if window not in newer and closed.get(window, False):
            report.found(Damage.WINDOW_MISSING, f"{describe_window(window)}: {expected[window].orders} orders")
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


def _difference(metric: Metric, right: Total) -> str | None:
    said = (metric.order_count, metric.revenue_cents, metric.average_cents)
    summed = (right.orders, right.cents, mean_cents(right))
    return None if said == summed else f"says (orders, cents, average cents) {said}, summed {summed}"
