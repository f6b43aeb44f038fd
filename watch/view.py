"""Shows a running pipeline: a live screen, or lines of text if the output is not a terminal."""

import asyncio
import sys
import time

from rich.console import Console
from rich.live import Live

from libs.runtime.kafka_client.clients import Kafka
from watch.observation import Observation
from watch.observing import observe_until_cancelled
from watch.plain import metric_line, status_line
from watch.screen import render
from watch.state import State

_DRAW_EVERY_S = 0.5
_LINE_EVERY_S = 5.0
_FIRST_METRICS = 20
_TOPICS_WITHIN_S = 10.0  # services create them sooner after their start


async def show(
    kafka: Kafka, topic_prefix: str, window_seconds: int, *, topics_within_s: float = _TOPICS_WITHIN_S
) -> None:
    """Show until cancelled.

    Raises:
        TopicsMissingError: the broker responds, but the topics are not created within ``topics_within_s``.
        BrokenPipeError: the reader of the lines has ended.
    """
    state = State(window_seconds)
    console = Console()
    on_terminal = console.is_terminal and not console.is_dumb_terminal
    title = f"Order pipeline at {kafka}" + (f", topics {topic_prefix}*" if topic_prefix else "")
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_draw(state, console, title) if on_terminal else _print(state))
            on_look = _ignore if on_terminal else _MetricPrinter()
            tasks.create_task(
                observe_until_cancelled(state, kafka, topic_prefix, on_look, topics_within_s=topics_within_s)
            )
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _draw(state: State, console: Console, title: str) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(render(state, title, console.width, console.height, time.time()), refresh=True)
            await asyncio.sleep(_DRAW_EVERY_S)


async def _print(state: State) -> None:
    while True:
        _write(status_line(state, time.time()))
        await asyncio.sleep(_LINE_EVERY_S)


class _MetricPrinter:
    """Prints each metric once; of the metrics from before the start, only the newest."""

    def __init__(self) -> None:
        self._from: int | None = -_FIRST_METRICS

    def __call__(self, seen: Observation) -> None:
        by_time = sorted(seen.metrics, key=lambda each: (each.window_end, each.product_id))
        for metric in by_time[self._from :]:
            _write(metric_line(metric, time.time()))
        self._from = None


def _ignore(_: Observation) -> None:
    """Do nothing: the screen shows the metrics of the state."""


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
