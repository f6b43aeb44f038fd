"""The ACLs of the pipeline: one principal for each service and tool, and the rights that it needs.

Names are without ``TOPIC_PREFIX``, which is put before every topic, group and transactional id. So a principal of one
pipeline has no rights in another one. ``python -m acls`` creates ACLs from this, and docs/security.md has it as a table.
"""

from collections.abc import Iterable

from libs.events.topics import (
    ALL_TOPICS,
    ANALYTICS_STATE,
    DEAD_LETTERS_REPLAYED,
    LATE_ORDERS,
    ORDERS,
    ORDERS_DLQ,
    PROCESSED_ORDERS,
    PRODUCT_METRICS,
    SINK_GROUPS,
)
from libs.runtime.rights.right import Operation, Resource, Right, Role
from libs.runtime.topics.topic import Topic

READ, WRITE, CREATE, DELETE = Operation.READ, Operation.WRITE, Operation.CREATE, Operation.DELETE
DESCRIBE, DESCRIBE_CONFIGS = Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS

_EXISTS = "works if the topic exists"
_NOT_COMPARED = "works, but warns that the settings were not compared"


def _topic(operation: Operation, topic: Topic, why: str, optional: str = "") -> Right:
    return Right(operation, Resource.TOPIC, topic.name, why=why, optional=optional)


def _group(operation: Operation, name: str, why: str) -> Right:
    return Right(operation, Resource.GROUP, name, why=why)


def _transactions(name: str, *, prefixed: bool = True) -> Right:
    return Right(
        WRITE, Resource.TRANSACTIONAL_ID, name, prefixed=prefixed, why="run transactions, and end those of a crash"
    )


def _create_and_describe(*topics: Topic) -> tuple[Right, ...]:
    return (
        *(_topic(CREATE, topic, "create the topic if it is missing", _EXISTS) for topic in topics),
        *(
            _topic(DESCRIBE_CONFIGS, topic, "compare its settings with what the guarantees need", _NOT_COMPARED)
            for topic in topics
        ),
    )


def _describe(*topics: Topic) -> tuple[Right, ...]:
    return tuple(_topic(DESCRIBE, topic, "check at the start that the topic exists") for topic in topics)


GENERATOR = Role(
    "generator",
    "generator",
    (_topic(WRITE, ORDERS, "send orders; since Kafka 2.8 idempotent too"), *_create_and_describe(ORDERS)),
)
PROCESSOR = Role(
    "processor",
    "processor",
    (
        _topic(READ, ORDERS, "read orders, commit offsets"),
        _topic(WRITE, PROCESSED_ORDERS, "write valid orders"),
        _topic(READ, PROCESSED_ORDERS, "check at the first start that no processor has worked before"),
        _topic(WRITE, ORDERS_DLQ, "write dead letters"),
        _group(READ, "processor", "be a member, and commit offsets"),
        _transactions("processor-"),
        *_describe(LATE_ORDERS, PRODUCT_METRICS, ANALYTICS_STATE),
        *_create_and_describe(*ALL_TOPICS),
    ),
)
ANALYTICS = Role(
    "analytics",
    "analytics",
    (
        _topic(READ, PROCESSED_ORDERS, "read orders, commit offsets"),
        _topic(WRITE, PRODUCT_METRICS, "write the metrics of closed windows"),
        _topic(WRITE, LATE_ORDERS, "write orders of closed windows"),
        _topic(WRITE, ORDERS_DLQ, "write foreign records"),
        _topic(WRITE, ANALYTICS_STATE, "keep open windows"),
        _topic(READ, ANALYTICS_STATE, "restore open windows"),
        _group(READ, "analytics", "be a member, and commit offsets"),
        _transactions("analytics-"),
        *_describe(ORDERS),
        *_create_and_describe(*ALL_TOPICS),
    ),
)
SINK = Role(
    "sink",
    "sink",
    (
        _topic(READ, PRODUCT_METRICS, "read the metrics"),
        *(
            _group(READ, group, f"commit offsets, which show the lag, if SINK_OUTPUTS has `{output}`")
            for output, group in SINK_GROUPS.items()
        ),
        *_create_and_describe(PRODUCT_METRICS),
    ),
)
_READ_BY_VIEWERS = (ORDERS, PROCESSED_ORDERS, ORDERS_DLQ, LATE_ORDERS, PRODUCT_METRICS)
VIEWER = Role(
    "viewer",
    "live page, `make watch`, `verify`, `metrics` and `report`, `make dead-letters` with `list` and `show`",
    (
        *(_topic(READ, topic, "show and verify the records") for topic in _READ_BY_VIEWERS),
        *(_group(DESCRIBE, group, "show the lag") for group in ("processor", "analytics", *SINK_GROUPS.values())),
        _topic(
            READ, DEAD_LETTERS_REPLAYED, "show which dead letters were replayed", "all but `make dead-letters` works"
        ),
        *(
            _topic(
                DESCRIBE_CONFIGS,
                topic,
                "know from when on records cannot have expired",
                "works, but verifies less once all records of a partition have expired",
            )
            for topic in (ORDERS_DLQ, LATE_ORDERS, PRODUCT_METRICS)
        ),
    ),
)
DEAD_LETTERS = Role(
    "dead-letters",
    "`make dead-letters` with `replay`",
    (
        _topic(READ, ORDERS_DLQ, "read the dead letters to replay"),
        _topic(READ, DEAD_LETTERS_REPLAYED, "know which dead letters were replayed"),
        _topic(WRITE, ORDERS, "replay dead letters"),
        _topic(WRITE, DEAD_LETTERS_REPLAYED, "mark them as replayed"),
        _transactions("dead-letters-replay", prefixed=False),
        _topic(DESCRIBE_CONFIGS, ORDERS, "know how large an order may be", "works with the broker's default"),
        *_create_and_describe(DEAD_LETTERS_REPLAYED),
    ),
)
_DERIVED = tuple(topic for topic in ALL_TOPICS if topic is not ORDERS)
RECOMPUTE = Role(
    "recompute",
    "`make recompute`",
    (
        _topic(READ, ORDERS, "find the oldest orders, and commit their offsets"),
        *(_topic(DELETE, topic, "delete the topic") for topic in _DERIVED),
        *(
            _topic(
                DESCRIBE_CONFIGS,
                topic,
                "know what was set on it by hand",
                "works, but does not say which settings are lost",
            )
            for topic in _DERIVED
        ),
        _group(READ, "processor", "check that the group has no members, and commit the oldest offset of orders"),
        _group(DESCRIBE, "analytics", "check that the group has no members"),
        _topic(
            DESCRIBE,
            DEAD_LETTERS_REPLAYED,
            "know whether dead letters were replayed",
            "works, but does not warn of them",
        ),
    ),
)
ROLES = (GENERATOR, PROCESSOR, ANALYTICS, SINK, VIEWER, DEAD_LETTERS, RECOMPUTE)


METRICS_READER = VIEWER.only(lambda right: right.name == PRODUCT_METRICS.name)
"""What `make metrics` needs of the viewer's rights."""

DEAD_LETTERS_READER = Role(
    "viewer",
    "`make dead-letters` with `list` and `show`",
    (
        *_describe(ORDERS),
        _topic(READ, ORDERS_DLQ, "list and show dead letters"),
        _topic(READ, DEAD_LETTERS_REPLAYED, "show which dead letters were replayed"),
    ),
)
"""The rights of ``list`` and ``show``, which the viewer and the replaying role both have."""


def sink_role(outputs: Iterable[str]) -> Role:
    """The sink's rights for these of its outputs."""
    unused = {group for output, group in SINK_GROUPS.items() if output not in set(outputs)}
    return SINK.only(lambda right: right.resource is not Resource.GROUP or right.name not in unused)
