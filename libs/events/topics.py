"""The topics of the pipeline, declared once.

Names are without the ``TOPIC_PREFIX`` setting, which the runtime puts before every topic, group and transactional id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What we derive from a record can be larger than the record: an enriched order has more fields, a dead letter more
# headers. A record that just fits into `orders` (the broker's 1 MiB) must fit into what comes of it as well.
_ROOM_FOR_DERIVED_RECORDS = {"max.message.bytes": str(2 * 1024 * 1024)}

# The broker unpacks what a client has compressed. aiokafka alone reads gzip only, so one record packed with lz4, snappy
# or zstd would stop a partition for good; and the limit above would hold for the packed bytes, of which a megabyte can
# be a gigabyte that no dead letter has room for. What the services write is not compressed.
_UNPACKED = {"compression.type": "uncompressed"}


@dataclass(frozen=True)
class Topic:
    """A topic's name and the configuration that differs from the broker's defaults."""

    name: str
    config: Mapping[str, str] = field(default_factory=dict)


# Stamped by the broker: when an order came in does not depend on its sender's clock, nor on when it is read.
ORDERS = Topic("orders", _UNPACKED | {"message.timestamp.type": "LogAppendTime"})
PROCESSED_ORDERS = Topic("processed-orders", _UNPACKED | _ROOM_FOR_DERIVED_RECORDS)
ORDERS_DLQ = Topic("orders-dlq", _UNPACKED | _ROOM_FOR_DERIVED_RECORDS)
LATE_ORDERS = Topic("late-orders", _UNPACKED | _ROOM_FOR_DERIVED_RECORDS)
PRODUCT_METRICS = Topic("product-metrics", _UNPACKED)
ANALYTICS_STATE = Topic(
    "analytics-state",
    _UNPACKED
    | {
        "cleanup.policy": "compact",
        # Restoring reads the whole partition: small segments and an eager cleaner keep it close to the live state.
        "segment.bytes": str(16 * 1024 * 1024),
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
    },
)
# Which dead letters have been replayed. Made by the first replay; no service needs it.
DEAD_LETTERS_REPLAYED = Topic("dead-letters-replayed", {"cleanup.policy": "compact"})

ALL_TOPICS = (ORDERS, PROCESSED_ORDERS, ORDERS_DLQ, LATE_ORDERS, PRODUCT_METRICS, ANALYTICS_STATE)
