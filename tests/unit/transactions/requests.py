"""Parses requests, and creates responses as aiokafka returns them."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka.structs import TopicPartition

_PRODUCE, _PRODUCE_V3 = 0, 3


class Sent(NamedTuple):
    """A request: its name without ``Request``, its fields, and the broker or coordinator that it is sent to."""

    name: str
    fields: dict[str, Any]
    to: Any = None

    def partitions(self) -> list[TopicPartition]:
        """The partitions in the request."""
        return [TopicPartition(topic, entry[0]) for topic, entries in self._topics() for entry in entries]

    def values(self) -> dict[TopicPartition, Any]:
        """The batch or the offset of each partition."""
        return {TopicPartition(topic, entry[0]): entry[1] for topic, entries in self._topics() for entry in entries}

    def _topics(self) -> list[tuple[str, list[Any]]]:
        return [
            (topic, [entry if isinstance(entry, tuple) else (entry,) for entry in entries])
            for topic, entries, *_ in self.fields["topics"]
        ]


def sent(request: Any, to: Any = None) -> Sent:
    """``request``, built for a current broker."""
    classes = [kind for kind in request._CLASSES if kind.API_KEY != _PRODUCE or kind.API_VERSION >= _PRODUCE_V3]
    struct = request.build(classes[-1])
    fields = {name: getattr(struct, name) for name in struct.SCHEMA.names}
    return Sent(type(request).__name__.removesuffix("Request"), fields, to)


def answer_to(  # noqa: PLR0911 - a table of answers
    request: Sent,
    code: int = 0,
    *,
    codes: dict[TopicPartition, int] | None = None,
    offsets: dict[TopicPartition, int] | None = None,
    producer: tuple[int, int] = (7, 0),
    listed: Sequence[tuple[str, str]] = (),
) -> Any:
    """A response with this error code; ``codes`` has other ones by partition.

    Args:
        offsets: for OffsetFetch, the committed offsets; for Produce, those of the batches.
        producer: for InitProducerId, the producer id and epoch.
        listed: for ListTransactions, transactional ids and states.
    """
    by_partition, numbers = codes or {}, offsets or {}

    def topics(*more: Any) -> list[Any]:
        return [
            (partition.topic, [(partition.partition, by_partition.get(partition, code), *more)])
            for partition in request.partitions()
        ]

    match request.name:
        case "AddPartitionsToTxn":
            return SimpleNamespace(errors=topics())
        case "MemberOffsetCommit":
            return SimpleNamespace(
                topics=[(topic, [(*each, {}) for each in entries], {}) for topic, entries in topics()]
            )
        case "Produce":
            return SimpleNamespace(
                topics=[
                    (topic, [(number, error, numbers.get(TopicPartition(topic, number), 0), -1)])
                    for topic, [(number, error)] in topics()
                ]
            )
        case "StableOffsetFetch":
            return SimpleNamespace(error_code=0 if codes else code, topics=_fetched(request, by_partition, numbers))
        case "ListTransactions":
            return SimpleNamespace(error_code=code, transactions=[(name, 1, state, {}) for name, state in listed])
        case "DescribeTransactions":  # the coordinator does not know the transactional id
            return SimpleNamespace(transaction_states=[(105, "", "", 0, 0, -1, -1, [], {})])
        case "InitProducerId":
            return SimpleNamespace(error_code=code, producer_id=producer[0], producer_epoch=producer[1])
        case _:
            return SimpleNamespace(error_code=code)


def _fetched(request: Sent, codes: dict[TopicPartition, int], offsets: dict[TopicPartition, int]) -> list[Any]:
    asked: Iterable[TopicPartition] = request.partitions()
    return [
        (each.topic, [(each.partition, offsets.get(each, -1), -1, "", codes.get(each, 0), {})], {}) for each in asked
    ]
