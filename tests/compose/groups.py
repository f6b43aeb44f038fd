"""Members and offsets of a consumer group, as the broker reports them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from tests.integration.services import HANGS_AFTER_S

T = TypeVar("T")


class Member(NamedTuple):
    """A member of a group: the address of its container, and its number of partitions."""

    member_id: str
    address: str
    partitions: int


async def members_of(bootstrap: str, group: str) -> list[Member]:
    """The group's members; empty during a rebalance."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        [response] = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    [(_, _, state, _, _, members, *_)] = response.groups  # type: ignore[attr-defined]  # aiokafka's base class has no fields
    if state != "Stable":
        return []
    return [
        Member(member_id, host.lstrip("/"), len(_partitions(assignment)))
        for member_id, _, host, _, assignment, *_ in members
    ]


def _partitions(assignment: bytes) -> list[int]:
    topics = ConsumerProtocolMemberAssignment.decode(assignment).assignment
    return [partition for _, partitions in topics for partition in partitions]


async def committed_offsets(bootstrap: str, group: str) -> dict[int, int]:
    """The group's committed offset in each partition of the one topic that it reads."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {partition.partition: committed.offset for partition, committed in offsets.items()}


async def eventually(look: Callable[[], Awaitable[T]], is_right: Callable[[T], object], what: str) -> T:
    """Call ``look`` until ``is_right``; on failure, report ``what`` was awaited and the last result."""
    seen: object = None
    try:
        async with asyncio.timeout(HANGS_AFTER_S):
            while True:
                try:
                    seen = value = await look()
                    if is_right(value):
                        return value
                except (KafkaError, OSError) as error:  # the broker may be starting
                    seen = error
                await asyncio.sleep(0.3)
    except TimeoutError:
        raise AssertionError(f"not within {HANGS_AFTER_S} s: {what}; last seen: {seen}") from None
