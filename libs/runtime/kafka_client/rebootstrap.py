"""A client whose brokers have all moved asks the configured addresses again (KIP-899).

aiokafka 0.14 asks those only once, at its start, and then only brokers that it knows: when all of these have got other
addresses, it never hears of them.
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
    """Run until cancelled: ask the bootstrap servers where the brokers are whenever these have been silent for seconds.

    What the client has buffered, and the state of an idempotent producer, stay as they are.
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
