"""Keeps the state up to date, through every absence of the broker."""

import asyncio
from collections.abc import Callable

from aiokafka.errors import KafkaError

from watch.kafka_view import KafkaView, Positions, TopicsMissingError
from watch.observation import Observation
from watch.state import State

_LOOK_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 10.0


async def follow(state: State, bootstrap: str, topic_prefix: str, on_look: Callable[[Observation], None]) -> None:
    """Look at the pipeline once a second until cancelled; ``on_look`` is told what each look brought."""
    positions: Positions = {}
    while True:
        try:
            async with KafkaView(bootstrap, topic_prefix, positions) as view:
                while True:
                    async with asyncio.timeout(_LOOK_TIMEOUT_S):
                        seen = await view.look()
                    state.apply(seen)
                    on_look(seen)
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TopicsMissingError as error:
            state.waiting_for = str(error)
        except (KafkaError, OSError, TimeoutError, AssertionError):
            # AssertionError: aiokafka's client before it has any metadata.
            state.waiting_for = f"the broker at {bootstrap}"
        await asyncio.sleep(_LOOK_EVERY_S)
