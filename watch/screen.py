"""The state as a full screen: the stages from left to right, then event time and faults, then the newest windows."""

from collections.abc import Iterator
from itertools import islice

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from libs.printable import printable
from watch.observation import Metric
from watch.state import READERS, State, Window
from watch.wording import (
    clock,
    database,
    dead_letters,
    event_time,
    lag,
    late_orders,
    metrics,
    money,
    outlook,
    per_second,
    short,
    time_behind,
)

_BOX_COLUMNS = 18
_FEWEST_COLUMNS_FOR_BOXES = 80
_FIXED_LINES = 19
_FIXED_LINES_NARROW = 25  # lines are folded there
_FEWEST_ROWS = 5


def render(state: State, title: str, width: int, height: int, now_s: float) -> RenderableType:
    """The screen, ``height`` lines at most if that leaves room for some windows; without boxes if it is narrow."""
    head = Text(title, style="bold")
    if state.waiting_for:
        head.append(f"\nwaiting for {state.waiting_for} …", style="bold yellow")
        if not state.lags:
            return head
    narrow = width < _FEWEST_COLUMNS_FOR_BOXES
    fixed = (_FIXED_LINES_NARROW if narrow else _FIXED_LINES) + (state.database_lag is not None)
    rows = max(_FEWEST_ROWS, height - fixed)
    flow = _list(state) if narrow else _flow(state)
    return Group(head, flow, _facts(state, now_s), _windows(state, rows, now_s, narrow=narrow))


def _list(state: State) -> Table:
    """The flow from top to bottom, as text."""
    flow = Table.grid(padding=(0, 2))
    flow.add_column(no_wrap=True, min_width=max(map(len, READERS)))
    flow.add_column(no_wrap=True)
    topics = (
        (ORDERS.name, f"{per_second(state.orders_rate.per_s)}, ≤ {state.orders:,} in all"),
        (PROCESSED_ORDERS.name, f"{per_second(state.accepted_rate.per_s)} accepted"),
        (PRODUCT_METRICS.name, metrics(state)),
    )
    for name, figure in topics:
        group = READERS[name]
        flow.add_row(Text(name, style="bold"), Text(figure, style="bold cyan"))
        flow.add_row(Text(f"  {group}", style="bold"), Text(lag(state, group), style=_lag_style(state, group)))
    return flow


def _flow(state: State) -> Table:
    """The flow from left to right: 80 columns, with longer arrows on wider terminals."""
    flow = Table.grid(expand=True)
    for _ in READERS:
        flow.add_column(width=_BOX_COLUMNS)
        flow.add_column(ratio=1, justify="center", vertical="middle", no_wrap=True)
    flow.add_row(
        _topic(ORDERS.name, per_second(state.orders_rate.per_s), f"up to {state.orders:,}"),
        _stage(state, "processor"),
        _topic(PROCESSED_ORDERS.name, per_second(state.accepted_rate.per_s), "orders accepted"),
        _stage(state, "analytics"),
        _topic(PRODUCT_METRICS.name, metrics(state), "metrics"),
        _stage(state, "sink"),
    )
    return flow


def _topic(name: str, figure: str, meaning: str) -> Panel:
    text = Text.assemble((name, "bold"), "\n", (figure, "bold cyan"), "\n", (meaning, "dim"), justify="center")
    return Panel(text, padding=0, border_style="cyan")


def _stage(state: State, group: str) -> Text:
    told = f"lag {short(state.lags[group])}\n{time_behind(state, group)}"
    return Text.assemble((group, "bold"), "\n───────▶\n", (told, _lag_style(state, group)))


def _lag_style(state: State, group: str) -> str:
    return "bold yellow" if state.keeps_up(group) is False else "green"


def _facts(state: State, now_s: float) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    facts.add_row("event time", event_time(state, now_s))
    facts.add_row("", outlook(state, now_s))
    for name, told in (("dead letters", dead_letters(state)), ("late orders", late_orders(state))):
        facts.add_row(name, Text(told, style="" if told == "none" else "yellow"))
    if state.database_lag is not None:
        facts.add_row("database", database(state))
    return facts


def _windows(state: State, rows: int, now_s: float, *, narrow: bool) -> Table:
    table = Table(
        title="metrics of closed windows, newest first",
        title_justify="left",
        title_style="bold",
        caption="lag: records still to be read, watermarks and ends of transactions included",
        caption_justify="left",
        expand=True,
        box=None,
    )
    for name in ("from", "product") if narrow else ("from", "to", "product"):
        table.add_column(name, no_wrap=True)
    for name in ("orders", "revenue") if narrow else ("orders", "revenue", "average"):
        table.add_column(name, justify="right", no_wrap=True)
    shown: Window | None = None
    for window, metric in islice(_newest_first(state), rows):
        start, end = ("", "") if window == shown else (clock(time_s, now_s) for time_s in window)
        shown = window
        totals = (f"{metric.order_count:,}", money(metric.total_revenue), money(metric.avg_order_value))
        if narrow:
            table.add_row(start, Text(printable(metric.product_id)), *totals[:2])
        else:
            table.add_row(start, end, Text(printable(metric.product_id)), *totals)
    if not state.windows:
        table.add_row("none yet", style="dim")
    return table


def _newest_first(state: State) -> Iterator[tuple[Window, Metric]]:
    for window in reversed(state.windows):
        for _, metric in sorted(state.windows[window].items()):
            yield window, metric
