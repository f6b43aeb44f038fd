"""The topics of the pipeline, declared once.

Names are without the ``TOPIC_PREFIX`` setting, which the runtime puts before every topic, group and transactional id.
"""

from libs.events import topic_rules
from libs.runtime.topics.topic import Topic

# Derived records can be larger than the original: an enriched order has more fields, a dead letter more headers. For each
# record that just fits into `orders` (the broker's 1 MiB), the derived record has to fit, too.
DERIVED_LIMIT_BYTES = 2 * 1024 * 1024

# Derived records keep the arrival time of their order as timestamp, whatever the broker's default is.
_DERIVED = {"max.message.bytes": str(DERIVED_LIMIT_BYTES), "message.timestamp.type": "CreateTime"}

# The broker decompresses batches of clients that compress. Otherwise the limit above would apply to compressed bytes: one
# megabyte of those can be a gigabyte, too large for any dead letter. The services themselves do not compress.
_UNPACKED = {"compression.type": "uncompressed"}


# Stamped by the broker: the arrival time depends neither on the sender's clock nor on when the order is read.
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
        # Restoring reads the whole partition: small segments and frequent compaction keep only the latest record of each window.
        "segment.bytes": str(16 * 1024 * 1024),
        "segment.ms": "600000",
        "min.cleanable.dirty.ratio": "0.1",
        # For so long compaction also keeps tombstones, and the marker of each transaction (KIP-534): by default for a day. A
        # restore that takes longer may read a window's record and miss its tombstone.
        "delete.retention.ms": str(60 * 60 * 1000),
    },
    topic_rules.STATE,
)
# Records which dead letters have been replayed. Created by the first replay; no service needs it.
DEAD_LETTERS_REPLAYED = Topic("dead-letters-replayed", {"cleanup.policy": "compact"}, topic_rules.MARKS)

STAGES = ("processor", "analytics")
"""The services that work in transactions; each is the name of its consumer group."""
SINK_GROUPS = {"file": "sink", "database": "sink-database"}
"""The consumer group whose offsets show the lag of an output of the sink."""
ALL_TOPICS = (ORDERS, PROCESSED_ORDERS, ORDERS_DLQ, LATE_ORDERS, PRODUCT_METRICS, ANALYTICS_STATE)
