"""The common fields of Kafka's offset requests in flexible versions (KIP-482)."""

from typing import Any

from aiokafka.protocol.types import CompactArray, CompactString, TaggedFields

NAME = CompactString("utf-8")
TAGS = ("tags", TaggedFields)


def topics_of(*partition_fields: tuple[str, Any]) -> tuple[str, CompactArray]:
    """The field ``topics``: each with a name and partitions, each of which has these fields."""
    partitions = ("partitions", CompactArray(*partition_fields, TAGS))
    return ("topics", CompactArray(("name", NAME), partitions, TAGS))
