"""The required settings of each topic, to check topics that were created or changed outside the pipeline.

Topics that the services create have the settings of ``topics``; the broker's defaults decide the rest.
"""

from libs.runtime.topics.rules import Rule, RuleInput

# Derived records are larger than the order: by a dead letter's headers (3 KiB at most), or by the catalogue's fields (some
# hundred bytes).
ROOM_FOR_DERIVED_BYTES = 64 * 1024

# The services fill a batch up to this size, whatever the limit of its topic.
LARGEST_BATCH_BYTES = 256 * 1024

_MINUTE_MS = 60 * 1000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_NEVER = -1


def _policies(seen: RuleInput) -> set[str]:
    return {policy.strip() for policy in seen.value.split(",")}


def _for_a_day(seen: RuleInput) -> bool:
    kept_ms = int(seen.value)
    return kept_ms == _NEVER or kept_ms >= _DAY_MS


def _is_derivable(seen: RuleInput) -> bool:
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
        "a record that only one broker has may be acknowledged, and is lost with that broker",
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
    Rule("retention.ms", "a day or more", _for_a_day, "records that an outage leaves unread for longer are deleted"),
    Rule(
        "retention.bytes",
        "-1",
        lambda seen: int(seen.value) == _NEVER,
        "in a larger backlog the oldest records are deleted before they are read",
    ),
)

_TAKES_BATCHES = (
    Rule(
        "max.message.bytes",
        f"{LARGEST_BATCH_BYTES} or more",
        lambda seen: int(seen.value) >= LARGEST_BATCH_BYTES,
        "a full batch is rejected, and its partition makes no progress in a backlog",
    ),
)

_KEEPS_TIMES = (
    Rule(
        "message.timestamp.type",
        "CreateTime",
        lambda seen: seen.value == "CreateTime",
        "a record loses its order's arrival time, and the verification reports dead letters as changed",
    ),
    Rule(
        "message.timestamp.before.max.ms",
        "a day or more",
        lambda seen: int(seen.value) >= _DAY_MS,
        "records of orders that have waited longer are rejected, and their partition makes no progress",
    ),
)

_TAKES_WHAT_IS_DERIVED = (
    Rule(
        "max.message.bytes",
        f"at least the limit of orders plus {ROOM_FOR_DERIVED_BYTES}",
        _is_derivable,
        "larger orders become dead letters (too_large), without their bytes if orders-dlq has no room for them",
    ),
)

SOURCE = (
    _not_compacted("orders without a key are rejected, and of those with the same key all but the last are deleted"),
    *ACKNOWLEDGED,
    *_KEPT_UNREAD,
    *_TAKES_BATCHES,
    Rule(
        "message.timestamp.type",
        "LogAppendTime",
        lambda seen: seen.value == "LogAppendTime",
        "the arrival time comes from the sender's clock, so a wrong clock can make a late order look on time",
    ),
    Rule(
        "compression.type",
        "uncompressed",
        lambda seen: seen.value == "uncompressed",
        "max.message.bytes limits compressed bytes, so a small batch may decompress to more than a service has memory for",
    ),
)

DERIVED = (
    _not_compacted("watermarks are rejected, and of the records with the same key all but the last are deleted"),
    *ACKNOWLEDGED,
    *_KEPT_UNREAD,
    *_TAKES_BATCHES,
    *_TAKES_WHAT_IS_DERIVED,
    *_KEEPS_TIMES,
)

METRICS = (
    _not_compacted("a product's earlier windows are deleted, possibly before they are in the file"),
    *ACKNOWLEDGED,
    *_KEPT_UNREAD,
    *_TAKES_BATCHES,
)

STATE = (
    Rule(
        "cleanup.policy",
        "compact",
        lambda seen: _policies(seen) == {"compact"},
        "old state of open windows is deleted, and their orders with it",
        refused=True,
    ),
    Rule(
        "delete.retention.ms",
        "between 10 minutes and 4 hours, such as 3600000",
        lambda seen: 10 * _MINUTE_MS <= int(seen.value) <= 4 * _HOUR_MS,
        "above, a take-over reads the markers of all transactions of that time; below, it may miss that a window was closed, and"
        " the window's metrics are written twice",
    ),
    *ACKNOWLEDGED,
    *_TAKES_BATCHES,
)

MARKS = (
    Rule(
        "cleanup.policy",
        "compact",
        lambda seen: _policies(seen) == {"compact"},
        "the marks of replayed letters are deleted, and another replay duplicates the letters",
        refused=True,
    ),
    *ACKNOWLEDGED,
)
