"""A member of a consumer group in one generation: what a commit is fenced by (KIP-447)."""

from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer

from libs.runtime.errors import NotAMemberError


class GroupMember(NamedTuple):
    """A group's name, and a member of it in one generation; -1 and "" name no member, and the broker checks nothing."""

    group: str
    generation: int
    member_id: str


def current_member(consumer: AIOKafkaConsumer, group: str) -> GroupMember:
    """The member that ``consumer`` is at present.

    To be read when partitions are assigned, and kept: commits are fenced because it gets old.
    """
    coordinator: Any = consumer._coordinator  # noqa: SLF001 - no public way; a test checks that the names are there
    return GroupMember(group, coordinator.generation, coordinator.member_id)


def check_member(consumer: AIOKafkaConsumer, member: GroupMember) -> None:
    """Raise ``NotAMemberError`` if ``consumer`` knows that it is no longer ``member``."""
    if current_member(consumer, member.group) != member:
        raise NotAMemberError(f"no longer a member of the group: {member}")
