"""Lets a client use the bootstrap servers again if all brokers that it knows are unreachable (KIP-899).

aiokafka 0.14 uses the bootstrap servers only at its start, and then the brokers that it knows. If all of these get new
addresses, it never learns them.
"""

import asyncio
from collections.abc import Callable

import structlog
from aiokafka.errors import KafkaError

from libs.runtime.kafka_client.clients import AIOKafkaClient, Kafka, client_arguments

log = structlog.get_logger()

_SILENT_S = 5.0
_LOOK_EVERY_S = 1.0


async def rebootstrap_when_silent(kafka: Kafka, client: AIOKafkaClient, silent_for_s: Callable[[], float]) -> None:
    """Run until cancelled: ask the bootstrap servers for the brokers' addresses whenever a response has been due for seconds.

    If there is a new one, ``client`` starts with them again; its buffers and the state of an idempotent producer are kept. Otherwise it is
    left alone: starting again empties its metadata, and the leader of a group would begin a rebalance because of that.
    """
    pause_s = _LOOK_EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        if silent_for_s() < _SILENT_S:
            pause_s = _LOOK_EVERY_S
            continue
        pause_s = _SILENT_S
        before, bootstrap = _addresses(client), AIOKafkaClient(**client_arguments(kafka))
        try:
            await bootstrap.bootstrap()
            if (now := _addresses(bootstrap)) <= before:
                continue
            await client.bootstrap()
        except (KafkaError, OSError, TimeoutError):
            continue
        finally:
            await bootstrap.close()
        log.warning("the brokers have other addresses", before=sorted(before), now=sorted(now))


def _addresses(client: AIOKafkaClient) -> set[str]:
    return {f"{broker.host}:{broker.port}" for broker in client.cluster.brokers()}
