"""Reads committed offsets that no pending transaction can change (KIP-447)."""

import asyncio
from collections.abc import Collection
from typing import Any

from aiokafka.errors import BrokerResponseError, for_code
from aiokafka.structs import TopicPartition

from libs.runtime.errors import OutdatedAnswerError
from libs.runtime.exactly_once.committed_offsets import CommittedOffset
from libs.runtime.kafka_requests.offset_fetch import StableOffsetFetch
from libs.runtime.transactions.connection import GROUP, BrokerConnection

_UNSTABLE_OFFSET_COMMIT = 88  # newer than aiokafka's table of errors
_NO_OFFSET = -1
_PAUSE_S = 0.02
_LOOK_UP_AFTER_PAUSES = 50


async def stable_offsets(
    connection: BrokerConnection,
    group: str,
    partitions: Collection[TopicPartition],
    coordinator: int | None = None,
) -> dict[TopicPartition, CommittedOffset | None]:
    """The committed offset of each partition, None where there is none: all from the same broker.

    Waits while a transaction with an offset of one of them is undecided, and for the group's coordinator to be ready.

    Args:
        connection: to the cluster.
        group: the group's name.
        partitions: those to read the offsets of.
        coordinator: the only broker whose answers count, if there is one. A broker that is no longer the group's coordinator, and
            does not know it, answers with old offsets.

    Raises:
        OutdatedAnswerError: another broker than ``coordinator`` answered.
        PipelineError: the connection broke.
        KafkaError: the coordinator refuses.
    """
    committed: dict[TopicPartition, CommittedOffset | None] = {}
    answered_by = coordinator
    pauses = 0
    while waiting := set(partitions) - committed.keys():
        request = StableOffsetFetch(group, waiting)
        response = await connection.ask_coordinator(GROUP, group, request)
        if (broker := await connection.coordinator(GROUP, group)) != answered_by:
            if coordinator is not None:
                raise OutdatedAnswerError(
                    f"the group's coordinator was broker {coordinator}, and broker {broker} answered"
                )
            committed, answered_by = {}, broker
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
            pauses += 1
            if pauses % _LOOK_UP_AFTER_PAUSES == 0:  # a former coordinator does not get the marker
                connection.forget_coordinators()
    return committed


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
