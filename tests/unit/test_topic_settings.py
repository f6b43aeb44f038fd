"""Topic settings that break a guarantee, and the messages about them."""

import re
from pathlib import Path

import pytest

from libs.events.limits import DECLARED_LIMITS, derived_limits
from libs.events.topics import ALL_TOPICS, ANALYTICS_STATE, DEAD_LETTERS_REPLAYED, ORDERS, ORDERS_DLQ
from libs.runtime.topics.creation import MAY_BE_LEFT_OUT
from libs.runtime.topics.rules import Cluster, TopicSettings, differences
from libs.runtime.topics.topic import Topic

CLUSTER_PAGE = Path(__file__).resolve().parents[2] / "docs/cluster.md"

BROKERS_DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "delete.retention.ms": "86400000",
    "max.message.bytes": "1048588",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
TOPICS = (*ALL_TOPICS, DEAD_LETTERS_REPLAYED)


def declared(replicas: int = 1) -> dict[str, TopicSettings]:
    return {topic.name: TopicSettings(replicas, BROKERS_DEFAULTS | dict(topic.config)) for topic in TOPICS}


def broken(topics: dict[str, TopicSettings]) -> set[tuple[str, str, bool]]:
    """Topic, setting, and whether the start is refused."""
    rules = [(topic.name, topic.rules) for topic in TOPICS]
    return {(each.topic, each.rule.setting, each.rule.refused) for each in differences("", rules, topics)}


def with_setting(topic: str, **config: str) -> dict[str, TopicSettings]:
    topics = declared()
    found = {name.replace("_", "."): value for name, value in config.items()}
    return topics | {topic: topics[topic]._replace(config={**topics[topic].config, **found})}


def test_topics_created_by_the_services_are_correct() -> None:
    assert broken(declared()) == set()


@pytest.mark.parametrize(
    ("topic", "setting", "value", "refused"),
    [
        ("orders", "cleanup_policy", "compact", True),
        ("orders", "cleanup_policy", "compact,delete", True),
        ("processed-orders", "cleanup_policy", "compact", True),
        ("product-metrics", "cleanup_policy", "compact", True),
        ("analytics-state", "cleanup_policy", "delete", True),
        ("analytics-state", "cleanup_policy", "compact,delete", True),
        ("analytics-state", "delete_retention_ms", "86400000", False),
        ("analytics-state", "delete_retention_ms", "60000", False),
        ("dead-letters-replayed", "cleanup_policy", "delete", True),
        ("orders-dlq", "min_insync_replicas", "2", True),
        ("orders", "message_timestamp_type", "CreateTime", False),
        ("orders-dlq", "message_timestamp_type", "LogAppendTime", False),
        ("orders", "compression_type", "producer", False),
        ("processed-orders", "max_message_bytes", "1048588", False),
        ("late-orders", "max_message_bytes", "1048588", False),
        ("product-metrics", "max_message_bytes", "100", False),
        ("late-orders", "message_timestamp_before_max_ms", "3600000", False),
        ("orders", "retention_ms", "3600000", False),
        ("orders-dlq", "retention_bytes", "1000000", False),
        ("orders", "unclean_leader_election_enable", "true", False),
    ],
)
def test_a_setting_that_breaks_a_guarantee_is_reported(topic: str, setting: str, value: str, refused: bool) -> None:
    topics = with_setting(topic, **{setting: value})
    assert broken(topics) == {(topic, setting.replace("_", "."), refused)}


def test_a_larger_record_limit_of_orders_requires_larger_ones_of_derived_topics() -> None:
    derived = {"processed-orders", "orders-dlq", "late-orders"}
    assert {topic for topic, _, _ in broken(with_setting("orders", max_message_bytes="8000000"))} == derived


def test_replication_factor_3_requires_min_insync_replicas_2() -> None:
    assert {setting for _, setting, _ in broken(declared(replicas=3))} == {"min.insync.replicas"}


def test_unlimited_retention_is_long_enough() -> None:
    assert broken(with_setting("orders", retention_ms="-1")) == set()


def test_unknown_topics_and_settings_are_ignored() -> None:
    topics = with_setting("orders-dlq", max_message_bytes="1048588")
    del topics["orders"]
    topics["analytics-state"] = TopicSettings(1, {})
    assert broken(topics) == set()


def test_a_difference_names_topic_value_required_value_and_consequence() -> None:
    topics = with_setting(ANALYTICS_STATE.name, cleanup_policy="delete")
    (found,) = differences("p-", [(ANALYTICS_STATE.name, ANALYTICS_STATE.rules)], topics)
    for part in ("'p-analytics-state'", "cleanup.policy=delete", "must be compact", "state of open windows is deleted"):
        assert part in str(found)


def test_record_limits_are_derived_from_the_actual_topic_settings() -> None:
    topics = with_setting(ORDERS_DLQ.name, max_message_bytes="9000000")
    assert derived_limits(Cluster("", topics)) == DECLARED_LIMITS._replace(dead_letter=9_000_000)
    topics = with_setting("late-orders", max_message_bytes="1000000")
    assert derived_limits(Cluster("", topics)).processed_order < 1_000_000


def test_a_limit_below_the_batch_size_does_not_reject_orders() -> None:
    topics = with_setting("processed-orders", max_message_bytes="100")
    assert derived_limits(Cluster("", topics)).processed_order == 256 * 1024


def test_every_topic_has_rules() -> None:
    assert all(topic.rules for topic in TOPICS)
    assert ORDERS in TOPICS


def documented() -> dict[str, list[dict[str, str]]]:
    """What each topic must, should and may have, by the page's table."""
    table = (
        CLUSTER_PAGE.read_text().partition("| topic | must have | should have | may have |\n")[2].partition("\n\n")[0]
    )
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[1:]]
    return {
        name.strip("`"): [dict(re.findall(r"`([a-z.]+)=(\w[\w.]*)`", cell)) for cell in cells] for name, *cells in rows
    }


def test_the_page_has_each_topic() -> None:
    assert list(documented()) == [topic.name for topic in TOPICS]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_page_has_the_settings_of_a_topic_by_their_importance(topic: Topic) -> None:
    must, should, may = documented()[topic.name]
    values = {"cleanup.policy": "delete"} | dict(topic.config)
    assert must | should | may == values
    assert must.keys() == {rule.setting for rule in topic.rules if rule.refused} - {"min.insync.replicas"}
    assert may.keys() == topic.config.keys() & MAY_BE_LEFT_OUT
    assert not may.keys() & {rule.setting for rule in topic.rules if rule.refused}
