"""A bar chart as SVG: orders per second by stage and contender, with a line from the lowest to the highest round."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from benchmarks.stats import Spread

_WIDTH, _LABELS, _NUMBERS = 900, 250, 150
_ROW, _BAR, _HEADING = 24, 16, 40
_OURS, _OTHERS, _LIMIT = "#1b7f5c", "#8a97a8", "#d9dee5"


class Bar(NamedTuple):
    """One contender; ``kind`` is "ours", "limit" or "peer"."""

    label: str
    speed: Spread
    kind: str


def chart(panels: Sequence[tuple[str, Sequence[Bar]]], caption: str) -> str:
    """One panel for each stage, each with its own scale."""
    parts: list[str] = []
    y = _HEADING
    for title, bars in panels:
        parts.append(_text(10, y, title, "bold"))
        y += 12
        longest = max((bar.speed.high for bar in bars), default=1.0)
        for bar in bars:
            parts += _row(bar, y, (_WIDTH - _LABELS - _NUMBERS) / longest)
            y += _ROW
        y += _HEADING
    parts.append(_text(10, y - 10, caption, "normal"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" font-family="sans-serif" font-size="13">'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{y + 10}" fill="white"/>', *parts, "</svg>"]) + "\n"


def _row(bar: Bar, y: float, scale: float) -> list[str]:
    colour = {"ours": _OURS, "limit": _LIMIT}.get(bar.kind, _OTHERS)
    middle = y + _BAR / 2
    low, high, end = (_LABELS + value * scale for value in (bar.speed.low, bar.speed.high, bar.speed.median))
    return [
        _text(_LABELS - 8, middle + 4, bar.label, "normal", "end"),
        f'<rect x="{_LABELS}" y="{y}" width="{end - _LABELS:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="black"/>',
        _text(high + 8, middle + 4, f"{bar.speed.median:,.0f}", "normal"),
    ]


def _text(x: float, y: float, text: str, weight: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
