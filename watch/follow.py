"""Keeps the state up to date, through every absence of the broker."""

import asyncio
from collections.abc import Callable

from aiokafka.errors import KafkaError

from watch.kafka_view import KafkaView, Positions, TopicsMissingError
from watch.observation import Metric
from watch.state import State

_LOOK_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 10.0
_FIRST_METRICS = 20


async def follow(state: State, bootstrap: str, topic_prefix: str, on_metric: Callable[[Metric], None]) -> None:
    """Look at the pipeline once a second until cancelled; ``on_metric`` is told each metric once."""
    positions: Positions = {}
    newest: int | None = -_FIRST_METRICS  # of what was there before the view, only the newest metrics are of interest
    while True:
        try:
            async with KafkaView(bootstrap, topic_prefix, positions) as view:
                while True:
                    async with asyncio.timeout(_LOOK_TIMEOUT_S):
                        seen = await view.look()
                    state.apply(seen)
                    by_time = sorted(seen.metrics, key=lambda each: (each.window_end, each.product_id))
                    for metric in by_time[newest:]:
                        on_metric(metric)
                    newest = None
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TopicsMissingError as error:
            state.waiting_for = str(error)
        except (KafkaError, OSError, TimeoutError, AssertionError):
            # AssertionError: aiokafka's client before it has any metadata.
            state.waiting_for = f"the broker at {bootstrap}"
        await asyncio.sleep(_LOOK_EVERY_S)
