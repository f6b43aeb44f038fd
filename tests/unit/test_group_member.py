"""The group membership of a replica."""

from types import SimpleNamespace
from typing import Any

import pytest

from libs.runtime.errors import NotAMemberError
from libs.runtime.kafka_client.group_member import GroupMember, check_member, current_member


def consumer_of(generation: int, member_id: str) -> Any:
    return SimpleNamespace(_coordinator=SimpleNamespace(generation=generation, member_id=member_id))


def test_a_group_member_is_independent_of_later_changes_of_its_consumer() -> None:
    consumer = consumer_of(7, "m")
    member = current_member(consumer, "group")
    consumer._coordinator.generation = 8
    assert member == GroupMember("group", 7, "m")


@pytest.mark.parametrize(("generation", "member_id"), [(8, "m"), (7, "other"), (-1, "")])
def test_a_changed_membership_of_the_consumer_is_detected(generation: int, member_id: str) -> None:
    member = GroupMember("group", 7, "m")
    check_member(consumer_of(7, "m"), member)
    with pytest.raises(NotAMemberError):
        check_member(consumer_of(generation, member_id), member)
