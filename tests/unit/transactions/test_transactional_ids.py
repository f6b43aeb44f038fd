import pytest

from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.transactions.transactional_ids import StageTransactionalIds

MEMBER = GroupMember("mine.processor", 7, "aiokafka-0.14.0-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")


def test_ids_are_unique() -> None:
    ids = StageTransactionalIds("mine.", "processor")
    later = MEMBER._replace(generation=8)
    made = [ids.next_for(member) for member in (MEMBER, MEMBER, later, later)]
    assert made == [
        f"mine.processor-7-{MEMBER.member_id}-0",
        f"mine.processor-7-{MEMBER.member_id}-1",
        f"mine.processor-8-{MEMBER.member_id}-2",
        f"mine.processor-8-{MEMBER.member_id}-3",
    ]


@pytest.mark.parametrize("prefix", ["", "mine.", "mine-1-"])
def test_the_generation_is_parsed_from_an_id(prefix: str) -> None:
    ids = StageTransactionalIds(prefix, "processor")
    made = ids.next_for(MEMBER)
    assert ids.owns(made)
    assert not ids.is_before(made, 6)
    assert not ids.is_before(made, 7)
    assert ids.is_before(made, 8)
    assert ids.is_before(made, 100)  # as a number, not as text


@pytest.mark.parametrize(
    "other",
    [
        "mine.analytics-7-member-0",
        "mine.processors-7-member-0",
        "yours.processor-7-member-0",
        "processor-7-member-0",
        "mine.mine.processor-7-member-0",
        "mine.processor-orders-3",  # of the version with one id per partition
        "mine.processor-3",
        "mine.processor-",
        "mine.processor",
        "mine.processor--7-member-0",
        "mine.processor-seven-member-0",
        "mine.processor-7",
        "mine.processor-7-",
        "mine.dead-letters-replay",
        "",
    ],
)
def test_foreign_ids_are_ignored(other: str) -> None:
    assert not StageTransactionalIds("mine.", "processor").is_before(other, 1_000)
