"""The leaders of a topic's partitions with their epochs, by Metadata v8: aiokafka 0.14 stops at v5, which has no epochs.

Each election has a higher epoch (KIP-320). So of two brokers that name different leaders, the one with the higher epoch knows better.
"""

from typing import Any

from aiokafka.protocol.api import Request

from libs.runtime.kafka_requests.authorized_operations import MetadataRequestV8


class TopicLeaders(Request[MetadataRequestV8]):
    """Requests the metadata of one topic; creates none."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[MetadataRequestV8]) -> MetadataRequestV8:
        return request_struct_class([self._topic], False, False, False)


def leaders_in(response: Any) -> dict[int, tuple[int, int]]:
    """Epoch and leader of each partition, -1 for none; empty if the broker does not know the topic."""
    ((code, _, _, partitions, _),) = response.topics
    return {} if code else {number: (epoch, leader) for _, number, leader, epoch, *_ in partitions}
