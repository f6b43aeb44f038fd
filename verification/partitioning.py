"""The partition of a key, by Kafka's own rule; apart from the pipeline's code, which the verification does not trust."""

from aiokafka.partitioner import murmur2


def partition_of(product_id: str, partitions: int) -> int:
    """The partition of a product's records, out of ``partitions``."""
    return (int(murmur2(product_id.encode())) & 0x7FFFFFFF) % partitions
