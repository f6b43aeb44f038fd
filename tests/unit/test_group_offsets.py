"""The committed offsets of a group, or the error with which its coordinator answers; never one as the other."""

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.commit import OffsetFetchRequest_v3, OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.runtime.kafka_client.group_offsets import group_offsets
from verification import topic_reader
from verification.topic_reader import TopicReader
from watch.kafka_view import KafkaView

A0, A1, B0 = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)
ANSWER = OffsetFetchResponse_v3(0, [("a", [(0, 5, "x", 0), (1, -1, "", 0)]), ("b", [(0, 7, "", 0)])], 0)
COMMITTED = {A0: OffsetAndMetadata(5, "x"), B0: OffsetAndMetadata(7, "")}
MOVING = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)


def error_of_group(code: int) -> OffsetFetchResponse_v3:
    return OffsetFetchResponse_v3(0, [], code)


class Admin(AIOKafkaAdminClient):
    """Gives ``answers``, the last one again and again."""

    def __init__(self, *answers: OffsetFetchResponse_v3) -> None:
        self.answers = list(answers)
        self.requests: list[Any] = []

    async def find_coordinator(self, group_id: str, coordinator_type: int = 0) -> int:
        return 3

    async def _send_request(self, request: Any, node_id: int | None = None) -> OffsetFetchResponse_v3:
        assert node_id == 3
        self.requests.append(request.build(OffsetFetchRequest_v3))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("partitions", "asked"), [(None, None), ([B0, A1, A0], [("a", [0, 1]), ("b", [0])])], ids=["all", "some"]
)
async def test_the_partitions_with_an_offset_are_returned(partitions: Any, asked: Any) -> None:
    admin = Admin(ANSWER)
    assert await group_offsets(admin, "g", partitions) == COMMITTED
    assert admin.requests == [OffsetFetchRequest_v3("g", asked)]


@pytest.mark.parametrize("error", [*MOVING, GroupAuthorizationFailedError])
async def test_the_coordinators_error_is_raised(error: Any) -> None:
    with pytest.raises(error):
        await group_offsets(Admin(error_of_group(error.errno)), "g")


async def test_the_error_of_a_partition_is_raised() -> None:
    answer = OffsetFetchResponse_v3(0, [("a", [(0, -1, "", TopicAuthorizationFailedError.errno)])], 0)
    with pytest.raises(TopicAuthorizationFailedError, match="a-0"):
        await group_offsets(Admin(answer), "g", [A0])


@pytest.mark.parametrize("error", MOVING)
async def test_the_verification_waits_for_a_coordinator_that_moves(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_reader, "_POLL_S", 0.0)
    reader = TopicReader("localhost:1")
    reader._admin = Admin(error_of_group(error.errno), error_of_group(error.errno), ANSWER)
    assert await reader.committed("g", "a") == {0: 5}
    await reader.__aexit__(None, None, None)


@pytest.mark.parametrize(("error", "waits_s"), [(MOVING[0], -1.0), (GroupAuthorizationFailedError, 60.0)])
async def test_the_verification_never_takes_an_error_for_no_offset(
    error: Any, waits_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", waits_s)
    reader = TopicReader("localhost:1")
    reader._admin = Admin(error_of_group(error.errno))
    with pytest.raises(error):
        await reader.committed("g", "a")
    await reader.__aexit__(None, None, None)


async def test_an_observation_fails_with_the_coordinators_error() -> None:
    view = KafkaView("localhost:1", "", {})
    view._admin = Admin(error_of_group(GroupLoadInProgressError.errno))
    with pytest.raises(GroupLoadInProgressError):
        await view._committed("g", "a")
    view._admin = Admin(ANSWER)
    assert await view._committed("g", "a") == {0: 5}
    await view.__aexit__(None, None, None)
