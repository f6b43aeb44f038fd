"""The offsets that the sink commits for those who watch its lag."""

from collections.abc import Mapping
from typing import cast

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from services.sink.progress import COMMIT_AGAIN_AFTER_S, Progress
from services.sink.sink_metrics import OutputMetrics, SinkMetrics

METRICS = [TopicPartition("product-metrics", number) for number in range(2)]


class FakeConsumer:
    def __init__(self) -> None:
        self.commits: list[Mapping[TopicPartition, int]] = []

    def last_stable_offset(self, _: TopicPartition) -> int:
        return 10

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.commits.append(offsets)


async def test_offsets_that_do_not_move_are_committed_once_a_day() -> None:
    """A broker forgets them otherwise, and all of the topic would count as lag."""
    consumer, now_s = FakeConsumer(), 1000.0
    kafka = cast(AIOKafkaConsumer, consumer)
    metrics = OutputMetrics(SinkMetrics(CollectorRegistry(), "product-metrics", ["file"]), "file")
    progress = Progress(dict, metrics, lambda: now_s)
    first = dict.fromkeys(METRICS, 5)
    progress.written(first, kafka)
    for _ in range(3):
        await progress.commit(kafka)
    assert consumer.commits == [first]
    progress.written(first | {METRICS[1]: 6}, kafka)
    await progress.commit(kafka)
    assert consumer.commits[1:] == [{METRICS[1]: 6}]
    now_s += COMMIT_AGAIN_AFTER_S + 1
    for _ in range(3):
        await progress.commit(kafka)
    assert consumer.commits[2:] == [{METRICS[0]: 5, METRICS[1]: 6}]
