"""The required settings of each topic, to check topics that somebody else has created or changed.

Topics that the services create have the settings of ``topics``; the broker's defaults decide the rest.
"""

from libs.runtime.topics.rules import Rule, Seen

# Derived records are larger than the order: by a dead letter's headers (3 KiB at most), or by the catalogue's fields (some
# hundred bytes).
ROOM_FOR_DERIVED_BYTES = 64 * 1024

# The services fill a batch up to this size, whatever the limit of its topic.
LARGEST_BATCH_BYTES = 256 * 1024

_DAY_MS = 24 * 60 * 60 * 1000
_NEVER = -1


def _policies(seen: Seen) -> set[str]:
    return {policy.strip() for policy in seen.value.split(",")}


def _for_a_day(seen: Seen) -> bool:
    kept_ms = int(seen.value)
    return kept_ms == _NEVER or kept_ms >= _DAY_MS


def _is_derivable(seen: Seen) -> bool:
    return int(seen.value) >= int(seen.topics["orders"].config["max.message.bytes"]) + ROOM_FOR_DERIVED_BYTES


def _not_compacted(otherwise: str) -> Rule:
    return Rule("cleanup.policy", "delete", lambda seen: "compact" not in _policies(seen), otherwise, refused=True)


ACKNOWLEDGED = (
    Rule(
        "min.insync.replicas",
        "at most the topic's replication factor",
        lambda seen: int(seen.value) <= seen.topic.replicas,
        "no write is ever acknowledged",
        refused=True,
    ),
    Rule(
        "min.insync.replicas",
        "2 or more with three replicas",
        lambda seen: seen.topic.replicas < 3 or int(seen.value) >= 2,
        "a record may be acknowledged that a single broker has, and be lost with it",
    ),
    Rule(
        "unclean.leader.election.enable",
        "false",
        lambda seen: seen.value == "false",
        "acknowledged records may be lost when brokers fail",
    ),
)
"""What has been acknowledged is kept."""

_KEPT_UNREAD = (
    Rule("retention.ms", "a day or more", _for_a_day, "what an outage leaves unread for so long is deleted, and lost"),
    Rule(
        "retention.bytes",
        "-1",
        lambda seen: int(seen.value) == _NEVER,
        "in a backlog of this size the oldest records are deleted unread, and lost",
    ),
)

_TAKES_BATCHES = (
    Rule(
        "max.message.bytes",
        f"{LARGEST_BATCH_BYTES} or more",
        lambda seen: int(seen.value) >= LARGEST_BATCH_BYTES,
        "a full batch is refused, and its partition stands still in a backlog",
    ),
)

_KEEPS_TIMES = (
    Rule(
        "message.timestamp.type",
        "CreateTime",
        lambda seen: seen.value == "CreateTime",
        "a record loses the time at which its order came in, and the verification takes a dead letter for a changed one",
    ),
    Rule(
        "message.timestamp.before.max.ms",
        "a day or more",
        lambda seen: int(seen.value) >= _DAY_MS,
        "records of orders that have waited longer are refused, and their partition stands still",
    ),
)

_TAKES_WHAT_IS_DERIVED = (
    Rule(
        "max.message.bytes",
        f"the limit of orders and {ROOM_FOR_DERIVED_BYTES} more",
        _is_derivable,
        "larger orders become dead letters (too_large), without their bytes if orders-dlq has no room for them",
    ),
)

SOURCE = (
    _not_compacted("orders without a key are refused, and of those with the same key all but the last are deleted"),
    *ACKNOWLEDGED,
    *_KEPT_UNREAD,
    *_TAKES_BATCHES,
    Rule(
        "message.timestamp.type",
        "LogAppendTime",
        lambda seen: seen.value == "LogAppendTime",
        "when an order came in is its sender's word, so that a wrong clock can pass as an order in time",
    ),
    Rule(
        "compression.type",
        "uncompressed",
        lambda seen: seen.value == "uncompressed",
        "max.message.bytes limits packed bytes, and a small batch may unpack to more than a service has memory for",
    ),
)

DERIVED = (
    _not_compacted("watermarks are refused, and of the records with the same key all but the last are deleted"),
    *ACKNOWLEDGED,
    *_KEPT_UNREAD,
    *_TAKES_BATCHES,
    *_TAKES_WHAT_IS_DERIVED,
    *_KEEPS_TIMES,
)

METRICS = (
    _not_compacted("a product's earlier windows are deleted, maybe before they are in the file"),
    *ACKNOWLEDGED,
    *_KEPT_UNREAD,
    *_TAKES_BATCHES,
)

STATE = (
    Rule(
        "cleanup.policy",
        "compact",
        lambda seen: _policies(seen) == {"compact"},
        "the state of open windows is deleted when it is old, and with it their orders",
        refused=True,
    ),
    *ACKNOWLEDGED,
    *_TAKES_BATCHES,
)

MARKS = (
    Rule(
        "cleanup.policy",
        "compact",
        lambda seen: _policies(seen) == {"compact"},
        "it is forgotten which letters were replayed, and another replay doubles them",
        refused=True,
    ),
    *ACKNOWLEDGED,
)
