"""The topics of the pipeline, declared once.

Names are without the ``TOPIC_PREFIX`` setting, which the runtime puts before every topic, group and transactional id.
"""

from libs.events import topic_rules
from libs.runtime.topics.topic import Topic

# What we derive from a record can be larger than the record: an enriched order has more fields, a dead letter more
# headers. A record that just fits into `orders` (the broker's 1 MiB) must fit into what comes of it as well.
DERIVED_LIMIT_BYTES = 2 * 1024 * 1024

# What is derived keeps the time at which its order came in, also where the broker's default is another.
_DERIVED = {"max.message.bytes": str(DERIVED_LIMIT_BYTES), "message.timestamp.type": "CreateTime"}

# The broker unpacks what a client has compressed. The limit above would else hold for the packed bytes, of which a megabyte
# can be a gigabyte that no dead letter has room for. What the services write is not compressed.
_UNPACKED = {"compression.type": "uncompressed"}


# Stamped by the broker: when an order came in does not depend on its sender's clock, nor on when it is read.
ORDERS = Topic("orders", _UNPACKED | {"message.timestamp.type": "LogAppendTime"}, topic_rules.SOURCE)
PROCESSED_ORDERS = Topic("processed-orders", _UNPACKED | _DERIVED, topic_rules.DERIVED)
ORDERS_DLQ = Topic("orders-dlq", _UNPACKED | _DERIVED, topic_rules.DERIVED)
LATE_ORDERS = Topic("late-orders", _UNPACKED | _DERIVED, topic_rules.DERIVED)
PRODUCT_METRICS = Topic("product-metrics", _UNPACKED, topic_rules.METRICS)
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
    topic_rules.STATE,
)
# Which dead letters have been replayed. Made by the first replay; no service needs it.
DEAD_LETTERS_REPLAYED = Topic("dead-letters-replayed", {"cleanup.policy": "compact"}, topic_rules.MARKS)

ALL_TOPICS = (ORDERS, PROCESSED_ORDERS, ORDERS_DLQ, LATE_ORDERS, PRODUCT_METRICS, ANALYTICS_STATE)
