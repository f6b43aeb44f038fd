"""Keeps the state up to date, across outages of the broker."""

import asyncio
import math
import time
from collections.abc import Callable

from aiokafka.errors import KafkaError

from libs.runtime.kafka_client.clients import Kafka
from watch.kafka_view import KafkaView, Positions, TopicsMissingError, TopicsRecreatedError
from watch.observation import Observation
from watch.state import State

_LOOK_EVERY_S = 1.0
_LOOK_TIMEOUT_S = 10.0


async def observe_until_cancelled(
    state: State,
    kafka: Kafka,
    topic_prefix: str,
    on_look: Callable[[Observation], None],
    *,
    topics_within_s: float = math.inf,
) -> None:
    """Observe the pipeline once a second until cancelled; ``on_look`` is called with each observation.

    Raises:
        TopicsMissingError: the broker responds, but has not had all topics for ``topics_within_s``.
    """
    positions: Positions = {}
    missing_since_s: float | None = None
    while True:
        try:
            async with KafkaView(kafka, topic_prefix, positions) as view:
                missing_since_s = None
                while True:
                    async with asyncio.timeout(_LOOK_TIMEOUT_S):
                        seen = await view.look()
                    state.apply(seen)
                    on_look(seen)
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TopicsMissingError as error:
            now_s = time.monotonic()
            missing_since_s = now_s if missing_since_s is None else missing_since_s
            if now_s - missing_since_s >= topics_within_s:
                raise
            state.waiting_for = f"the topics {error.topics}"
        except TopicsRecreatedError:
            missing_since_s = None
            positions.clear()
            state.start_over()
        except (KafkaError, OSError, TimeoutError, AssertionError):
            # aiokafka's client raises AssertionError before it has any metadata.
            missing_since_s = None
            state.waiting_for = f"the broker at {kafka}"
        await asyncio.sleep(_LOOK_EVERY_S)
