"""Keeps a replica's membership of its group alive while it has no partition."""

import asyncio
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from libs.runtime.errors import StuckConsumerError

log = structlog.get_logger()

_CHECK_EVERY_S = 5.0


async def watch_membership(consumer: AIOKafkaConsumer, check_every_s: float = _CHECK_EVERY_S) -> None:
    """Run until cancelled.

    aiokafka keeps an error of its group coordination for the next read, and does not rejoin the group until then
    [aiokafka 0.14: GroupCoordinator._push_error_to_user]. Partitions are revoked before a join, so nothing is read after a
    join that the broker refuses: without this task the replica would wait for ever, and look healthy.

    Raises:
        StuckConsumerError: aiokafka will not rejoin the group.
    """
    coordinator: Any = consumer._coordinator  # noqa: SLF001 - no public way; a test checks that the names are there
    while True:
        await asyncio.sleep(check_every_s)
        try:
            coordinator.check_errors()
        except (KafkaError, asyncio.CancelledError) as error:
            if coordinator._coordination_task.done():  # noqa: SLF001
                raise StuckConsumerError(
                    f"membership of the group ended: {error!r}",
                    advice="start the service again; it continues from its last commit",
                ) from error
            log.warning("joining the group failed, trying again", error=repr(error))
