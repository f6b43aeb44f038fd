"""Bars of revenue by hour or minute, as SVG: 40 lines, where a plotting library would be 50 MB."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from daily_report.elements import element
from daily_report.wording import money

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 960, 240, 88, 22, 8
_LABELS = 12
_ROUND = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100)


class Bar(NamedTuple):
    """The sales of an hour or a minute."""

    label: str
    orders: int
    cents: int


def plot(bars: Sequence[Bar], title: str) -> Element:
    """The bars with an axis in dollars."""
    top = axis_top(max((bar.cents for bar in bars), default=0))
    height, step = _HEIGHT - _BOTTOM - _TOP, (_WIDTH - _LEFT) / max(len(bars), 1)

    def y(cents: int) -> float:
        return round(_TOP + height * (1 - cents / top), 1)

    parts: list[Element] = []
    for value in (top, top // 2, 0):
        parts.append(element("line", class_="grid", x1=_LEFT, x2=_WIDTH, y1=y(value), y2=y(value)))
        parts.append(element("text", f"${value // 100:,}", class_="end", x=_LEFT - 8, y=y(value) + 4))
    every = max(1, len(bars) // _LABELS)
    for number, (label, orders, cents) in enumerate(bars):
        left = _LEFT + number * step
        about = element("title", f"{label}: {orders:,} orders, {money(cents)}")
        box = {"x": round(left + step * 0.12, 1), "width": round(step * 0.76, 1), "y": y(cents)}
        parts.append(element("rect", about, class_="bar", height=round(_TOP + height - y(cents), 1), **box))
        if number % every == 0:
            parts.append(element("text", label, class_="middle", x=round(left + step / 2, 1), y=_HEIGHT - 4))
    return element("svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title)


def axis_top(highest_cents: int) -> int:
    """The upper end of the axis, in cents: twice a round number of dollars, at or above the highest bar.

    >>> axis_top(0), axis_top(123_456), axis_top(99_900)
    (200, 160000, 100000)
    """
    half_dollars = max(1, -(-highest_cents // 200))
    power = int(10 ** max(0, len(str(half_dollars)) - 2))
    return 200 * power * next(each for each in _ROUND if each * power >= half_dollars)
