"""Lets a client use the bootstrap servers again if all brokers that it knows are unreachable (KIP-899).

aiokafka 0.14 uses the bootstrap servers only at its start, and then the brokers that it knows. If all of these get new
addresses, it never learns them.
"""

import asyncio
from collections.abc import Callable

import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

log = structlog.get_logger()

_SILENT_S = 5.0
_LOOK_EVERY_S = 1.0


async def rebootstrap_when_silent(client: AIOKafkaClient, silent_for_s: Callable[[], float]) -> None:
    """Run until cancelled: request metadata from the bootstrap servers whenever no broker has responded for seconds.

    The client's buffers and the state of an idempotent producer are kept.
    """
    pause_s = _LOOK_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        if silent_for_s() < _SILENT_S:
            pause_s = _LOOK_EVERY_S
            continue
        pause_s = _SILENT_S
        before = _addresses(client)
        try:
            await client.bootstrap()
        except (KafkaError, OSError, TimeoutError):
            continue
        if (now := _addresses(client)) != before:
            log.warning("the brokers have other addresses", before=before, now=now)


def _addresses(client: AIOKafkaClient) -> list[str]:
    return sorted(f"{broker.host}:{broker.port}" for broker in client.cluster.brokers())
