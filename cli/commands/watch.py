"""`pipeline watch`."""

import asyncio
import contextlib
import signal

from cli.context import context_of
from cli.kafka import address_of, watch_in_kafka
from cli.options import FOUND, PipelineOptions
from libs.events.rights import VIEWER
from watch.view import show


def watch(*, pipeline: PipelineOptions = FOUND) -> None:
    """Show lag and throughput of each stage, and the metrics of each window, until Ctrl-C.

    On a terminal it is a live screen. Otherwise it prints a line every five seconds and one for each metric.
    """
    context = context_of(pipeline)
    kafka = address_of(context)

    async def until_stopped() -> None:
        watching = asyncio.current_task()
        assert watching is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await show(kafka, context.topic_prefix, context.window_seconds)

    watch_in_kafka(until_stopped, kafka, context.topic_prefix, VIEWER)
