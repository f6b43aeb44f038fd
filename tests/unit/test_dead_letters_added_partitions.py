"""Replays after partitions were added and everything was recomputed: the topic of the marks keeps its number of partitions."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from aiokafka.structs import TopicPartition

from dead_letters import reader, replay
from dead_letters.commands import Pipeline, _make_marks_topic, _with_marks
from dead_letters.dead_letter import read_letter
from dead_letters.reader import Topics
from dead_letters.replay import ReplayProducer
from dead_letters.replay_marks import encode_key
from libs.events.dead_letters import Reason, RejectedError, dead_letter_headers
from libs.runtime.kafka_client.clients import KafkaAddress
from libs.runtime.topics import creation
from libs.runtime.topics.topic import Topic
from libs.runtime.transactions.record_batches import RecordBatch
from tests.unit.driver import FakeRecord

MARKS = "dead-letters-replayed"


class Admin:
    """A cluster whose topics have these numbers of partitions."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts

    def __call__(self, **_: object) -> Self:
        return self

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def list_topics(self) -> list[str]:
        return list(self.counts)

    async def describe_topics(self, names: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"topic": name, "error_code": 0, "partitions": [{"replicas": [1]}] * self.counts[name]} for name in names
        ]

    async def create_topics(self, topics: Sequence[Any]) -> SimpleNamespace:
        self.counts |= {topic.name: topic.num_partitions for topic in topics}
        return SimpleNamespace(topic_errors=[(topic.name, 0, "") for topic in topics])

    async def describe_cluster(self) -> dict[str, str]:
        return {"cluster_id": "c"}


class Producer:
    """Records what is written into each partition."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, int], int] = {}

    async def add_partitions(self, partitions: Mapping[TopicPartition, object]) -> None: ...

    async def produce(self, batches: Mapping[TopicPartition, list[RecordBatch]]) -> dict[TopicPartition, list[int]]:
        for target, of_target in batches.items():
            self.counts[target] = sum(batch.record_count for batch in of_target)
        return {target: [0] * len(of_target) for target, of_target in batches.items()}

    async def end(self, *, commit: bool) -> None: ...


async def topics_of(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> Topics:
    async def max_message_bytes(_: str) -> None:
        return None

    monkeypatch.setattr(reader, "AIOKafkaAdminClient", admin)
    tools = cast(Any, SimpleNamespace(max_message_bytes=max_message_bytes))
    return _with_marks(await reader._look_up(KafkaAddress("there:1"), "", tools))


@pytest.mark.parametrize(("existing", "wanted"), [({MARKS: 6}, 6), ({}, 12)])
async def test_an_existing_topic_keeps_its_partitions_and_a_new_one_has_those_of_the_letters(
    existing: dict[str, int], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def alike(_: object, __: str, specs: Sequence[Topic], ___: object) -> dict[str, Any]:
        assert [spec.name for spec in specs] == [MARKS]
        return {}

    admin = Admin({"orders": 12, "orders-dlq": 12} | existing)
    monkeypatch.setattr(creation, "AIOKafkaAdminClient", admin)
    monkeypatch.setattr(creation, "compare_settings", alike)
    topics = await topics_of(admin, monkeypatch)
    await _make_marks_topic(Pipeline(KafkaAddress("there:1"), "", 60), topics)
    assert admin.counts[MARKS] == topics.marks_partitions == wanted


async def test_the_mark_of_a_letter_from_an_added_partition_goes_to_one_that_exists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = await topics_of(Admin({"orders": 12, "orders-dlq": 12, MARKS: 6}), monkeypatch)
    producer = ReplayProducer("there:1", "", topics)
    producer._producer = written = cast(Any, Producer())
    headers = dead_letter_headers("orders", 11, 5, RejectedError(Reason.MISSING_FIELD, "why"))
    letter = read_letter(FakeRecord(b"{}", b"k", tuple(headers), offset=3, partition=11))
    assert encode_key(letter).startswith(b"11/3/")
    await producer.write([letter])
    assert written.counts == {("orders", 11): 1, (MARKS, 5): 1}


async def test_markers_are_looked_for_in_the_partitions_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TopicPartition] = []

    async def none_missing(_: object, __: str, partitions: list[TopicPartition]) -> list[TopicPartition]:
        seen.extend(partitions)
        return []

    monkeypatch.setattr(replay, "partitions_without_marker", none_missing)
    topics = await topics_of(Admin({"orders": 12, "orders-dlq": 12, MARKS: 6}), monkeypatch)
    producer = ReplayProducer("there:1", "", topics)
    producer._connection = cast(Any, None)
    await producer._refuse_missing_markers()
    assert [each for each in seen if each.topic == MARKS] == [TopicPartition(MARKS, number) for number in range(6)]
