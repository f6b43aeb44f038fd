"""Wakes a DAG when dead letters arrive."""

import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.apache.kafka.triggers.shared_stream import KafkaSharedStreamTrigger
from airflow.triggers.base import TriggerEvent

QUIET_S = 1.0
"""So long after an event no other is fired."""


class DeadLettersTrigger(KafkaSharedStreamTrigger):
    """Fires at most once in ``QUIET_S``, with the topic's name and nothing of the letters.

    The provider's own trigger stores each record's value as text in Airflow's database: it raises at a letter that is no UTF-8,
    and a flood of letters is a flood of rows. Here an event only says that there are letters. Which they
    are the DAG's run reads from the topic, later than ``QUIET_S`` after the event; so those that fire none are read as well.

    Still the provider's: the offset of a letter is committed after its event is stored, and that of a letter without one
    after those of the letters before it in its partition.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        _, arguments = super().serialize()
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        fired_s = -QUIET_S
        async for _ in shared_stream:
            if time.monotonic() - fired_s >= QUIET_S:
                fired_s = time.monotonic()
                yield TriggerEvent(", ".join(self.topics))
