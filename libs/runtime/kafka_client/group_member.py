"""A consumer group's member and generation, by which commits are fenced (KIP-447)."""

from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer

from libs.runtime.errors import NotAMemberError


class GroupMember(NamedTuple):
    """A group, and a member of it in one generation. With -1 and "" there is no member, and the broker does not check it."""

    group: str
    generation: int
    member_id: str


def current_member(consumer: AIOKafkaConsumer, group: str) -> GroupMember:
    """The current group membership of ``consumer``.

    To be read when partitions are assigned, and kept: commits are fenced by a generation that has become outdated.
    """
    coordinator: Any = consumer._coordinator  # noqa: SLF001 - no public way; a test checks that the names are there
    return GroupMember(group, coordinator.generation, coordinator.member_id)


def check_member(consumer: AIOKafkaConsumer, member: GroupMember) -> None:
    """Raise ``NotAMemberError`` if ``consumer`` knows that it is no longer ``member``."""
    if current_member(consumer, member.group) != member:
        raise NotAMemberError(f"no longer a member of the group: {member}")
