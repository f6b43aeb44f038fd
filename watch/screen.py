"""The state as a screen: the stages from left to right, then event time and faults, then the newest windows."""

from itertools import islice

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from libs.events.topics import ORDERS, PROCESSED_ORDERS, PRODUCT_METRICS
from watch.observation import Metric
from watch.state import READERS, State
from watch.wording import clock, dead_letters, event_time, money, outlook, per_second, short, short_duration

_BOX_COLUMNS = 18
_FIXED_LINES = 19
_FEWEST_ROWS = 5
_SLOW_S = 5.0


def render(state: State, title: str, height: int, now_s: float) -> RenderableType:
    """The whole screen, ``height`` lines at most where that leaves room for some windows."""
    head = Text(title, style="bold")
    if state.waiting_for:
        head.append(f"\nwaiting for {state.waiting_for} …", style="bold yellow")
        if not state.lags:
            return head
    return Group(
        head, _flow(state), _facts(state, now_s), _windows(state, max(_FEWEST_ROWS, height - _FIXED_LINES), now_s)
    )


def _flow(state: State) -> Table:
    """Fits into 80 columns; what is more goes to the arrows."""
    flow = Table.grid(expand=True)
    for _ in READERS:
        flow.add_column(width=_BOX_COLUMNS)
        flow.add_column(ratio=1, justify="center", vertical="middle", no_wrap=True)
    flow.add_row(
        _topic(ORDERS.name, per_second(state.orders_rate.per_s), f"{state.orders:,} in all"),
        _stage(state, "processor"),
        _topic(PROCESSED_ORDERS.name, per_second(state.accepted_rate.per_s), "orders accepted"),
        _stage(state, "analytics"),
        _topic(PRODUCT_METRICS.name, f"{state.metrics_count:,}", "closed windows"),
        _stage(state, "sink"),
    )
    return flow


def _topic(name: str, figure: str, meaning: str) -> Panel:
    text = Text.assemble((name, "bold"), "\n", (figure, "bold cyan"), "\n", (meaning, "dim"), justify="center")
    return Panel(text, padding=0, border_style="cyan")


def _stage(state: State, group: str) -> Text:
    behind_s = state.behind_s(group)
    slow = behind_s is None or behind_s > _SLOW_S
    lag = f"lag {short(state.lags[group])}\n{'' if behind_s is None else short_duration(behind_s)}"
    return Text.assemble((group, "bold"), "\n───────▶\n", (lag, "bold yellow" if slow else "green"))


def _facts(state: State, now_s: float) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    facts.add_row("event time", event_time(state, now_s))
    facts.add_row("", outlook(state, now_s))
    style = "yellow" if state.dead_letters_count else ""
    facts.add_row("dead letters", Text(dead_letters(state), style=style))
    facts.add_row(
        "late orders", Text(f"{state.late:,}" if state.late else "none", style="yellow" if state.late else "")
    )
    return facts


def _windows(state: State, rows: int, now_s: float) -> Table:
    table = Table(
        title="closed windows, newest first",
        title_justify="left",
        title_style="bold",
        caption="lag: records still to be read, watermarks and ends of transactions included",
        caption_justify="left",
        expand=True,
        box=None,
    )
    for name in ("from", "to", "product"):
        table.add_column(name, no_wrap=True)
    for name in ("orders", "revenue", "average"):
        table.add_column(name, justify="right", no_wrap=True)
    shown: tuple[int, int] | None = None
    for metric in islice(sorted(state.metrics, key=_newest_first), rows):
        window = (metric.window_start, metric.window_end)
        times = ("", "") if window == shown else tuple(clock(time_s, now_s) for time_s in window)
        shown = window
        table.add_row(
            *times,
            Text(metric.product_id),
            f"{metric.order_count:,}",
            money(metric.total_revenue),
            money(metric.avg_order_value),
        )
    if not state.metrics:
        table.add_row("none yet", "", "", "", "", "", style="dim")
    return table


def _newest_first(metric: Metric) -> tuple[int, str]:
    return -metric.window_end, metric.product_id
