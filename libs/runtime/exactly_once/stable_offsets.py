"""Reads committed offsets that no pending transaction can change (KIP-447)."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.errors import BrokerResponseError, for_code
from aiokafka.structs import TopicPartition

from libs.runtime.errors import OutdatedAnswerError
from libs.runtime.exactly_once.committed_offsets import CommittedOffset
from libs.runtime.kafka_requests.offset_fetch import StableOffsetFetch
from libs.runtime.transactions.connection import GROUP, BrokerConnection

_UNSTABLE_OFFSET_COMMIT = 88  # newer than aiokafka's table of errors
_NO_OFFSET = -1
_PAUSE_S = 0.02


async def stable_offsets(
    connection: BrokerConnection, group: str, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, CommittedOffset | None]:
    """The committed offset of each partition, None where there is none: all from the same coordinator.

    Waits while a transaction with an offset of one of them is undecided, and for the group's coordinator to be ready.

    Raises:
        PipelineError: the connection broke.
        KafkaError: the coordinator refuses.
    """
    committed: dict[TopicPartition, CommittedOffset | None] = {}
    answered_by: int | None = None
    while waiting := set(partitions) - committed.keys():
        request = StableOffsetFetch(group, waiting)
        response = await connection.ask_coordinator(GROUP, group, request)
        if (coordinator := await connection.coordinator(GROUP, group)) != answered_by:
            committed, answered_by = {}, coordinator
        unstable = False
        for partition, code, offset, metadata in _answers(response, waiting):
            if code == 0:
                committed[partition] = _committed(offset, metadata)
            elif code == _UNSTABLE_OFFSET_COMMIT:
                unstable = True
            else:
                refusal: type[BrokerResponseError] = for_code(code)
                if not refusal.retriable:
                    raise refusal(f"reading the committed offset of {partition}")
                await connection.refresh()
                break
        if unstable:
            await asyncio.sleep(_PAUSE_S)
    return committed


async def check_offsets(
    connection: BrokerConnection,
    coordinator: int,
    group: str,
    committed: Mapping[TopicPartition, CommittedOffset | None],
) -> None:
    """Check that ``committed`` is what the group's coordinator had, to be called once that has accepted an offset of this member.

    A broker may not know that it is no longer the coordinator, and answer with old offsets. One that accepts an offset is the
    coordinator, since the replicas in sync have acknowledged it. An offset that is pending does not count: this member's is.

    Args:
        connection: the one that the offset was sent over.
        coordinator: the broker that ``committed`` is from.
        group: the group's name.
        committed: the answer of ``stable_offsets``.

    Raises:
        OutdatedAnswerError: they are, or may be, from a former coordinator.
        KafkaError: the coordinator has changed again, or does not answer.
    """
    if (accepted_by := await connection.coordinator(GROUP, group)) != coordinator:
        raise OutdatedAnswerError(f"the coordinator was broker {coordinator}, and is broker {accepted_by}")
    request = StableOffsetFetch(group, committed, require_stable=False)
    response = await connection.send(accepted_by, request, ConnectionGroup.COORDINATION)
    for partition, code, offset, metadata in _answers(response, committed):
        if code:
            raise for_code(code)(f"reading the committed offset of {partition} again")
        if (now := _committed(offset, metadata)) != committed[partition]:
            raise OutdatedAnswerError(f"the committed offset of {partition} was {now}, not {committed[partition]}")


def _committed(offset: int, metadata: str | None) -> CommittedOffset | None:
    return None if offset == _NO_OFFSET else CommittedOffset(offset, metadata or "")


def _answers(response: Any, asked: Collection[TopicPartition]) -> list[tuple[TopicPartition, int, int, str | None]]:
    if response.error_code:
        return [(partition, response.error_code, _NO_OFFSET, None) for partition in asked]
    return [
        (TopicPartition(topic, number), code, offset, metadata)
        for topic, partitions, _ in response.topics
        for number, offset, _, metadata, code, _ in partitions
    ]
