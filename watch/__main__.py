"""``python -m watch``: shows a pipeline at work until Ctrl-C; plain lines where the output is no terminal."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time

from rich.console import Console
from rich.live import Live

from libs.cli import kafka_of, pipeline_flags
from libs.events.rights import VIEWER
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_security.login_refusals import unless_refused
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights
from watch.follow import follow
from watch.observation import Observation
from watch.plain import metric_line, status_line
from watch.screen import render
from watch.state import State

_DRAW_EVERY_S = 0.5
_LINE_EVERY_S = 5.0
_FIRST_METRICS = 20
_TOPICS_WITHIN_S = 10.0  # services that are starting make them sooner


def main() -> None:
    """Show until the end is asked for, and exit with 0; with 1 if there is nothing to show."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what matters of it, the view says itself
    try:
        kafka = kafka_of(arguments)
        check = RightsCheck(kafka, arguments.topic_prefix, VIEWER)
        asyncio.run(unless_refused(with_rights(_watch(arguments, kafka), check)))
    except* PipelineError as errors:
        sys.exit(f"watch: {described(errors.exceptions[0])}")
    except* BrokenPipeError:
        # Whoever read the lines has gone, and Python would flush into the closed pipe once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _watch(arguments: argparse.Namespace, kafka: KafkaAddress) -> None:
    watching = asyncio.current_task()
    assert watching is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
    state = State(arguments.window_seconds)
    console = Console()
    on_terminal = console.is_terminal and not console.is_dumb_terminal
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_draw(state, console, arguments) if on_terminal else _print(state))
            on_look = _ignore if on_terminal else _MetricPrinter()
            tasks.create_task(follow(state, kafka, arguments.topic_prefix, on_look, topics_within_s=_TOPICS_WITHIN_S))


async def _draw(state: State, console: Console, arguments: argparse.Namespace) -> None:
    title = f"Order pipeline at {arguments.bootstrap}"
    if arguments.topic_prefix:
        title += f", topics {arguments.topic_prefix}*"
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(render(state, title, console.width, console.height, time.time()), refresh=True)
            await asyncio.sleep(_DRAW_EVERY_S)


async def _print(state: State) -> None:
    while True:
        _write(status_line(state, time.time()))
        await asyncio.sleep(_LINE_EVERY_S)


class _MetricPrinter:
    """Prints each metric once; of what was there before the view, only the newest are of interest."""

    def __init__(self) -> None:
        self._from: int | None = -_FIRST_METRICS

    def __call__(self, seen: Observation) -> None:
        by_time = sorted(seen.metrics, key=lambda each: (each.window_end, each.product_id))
        for metric in by_time[self._from :]:
            _write(metric_line(metric, time.time()))
        self._from = None


def _ignore(_: Observation) -> None:
    """The screen shows the metrics that the state holds."""


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    return argparse.ArgumentParser(prog="python -m watch", description=__doc__, parents=[pipeline_flags()]).parse_args()


if __name__ == "__main__":
    main()
