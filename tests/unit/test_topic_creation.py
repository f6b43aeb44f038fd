from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource
from aiokafka.errors import BrokerResponseError, InvalidConfigurationError, PolicyViolationError
from structlog.testing import capture_logs

from libs.events.topics import ALL_TOPICS, ANALYTICS_STATE, DEAD_LETTERS_REPLAYED, ORDERS
from libs.runtime.backoff import Backoff
from libs.runtime.errors import TopicMismatchError, TopicRefusedError
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics import creation
from libs.runtime.topics.creation import check_partition_counts, config_of_new_topic
from libs.runtime.topics.topic import Topic
from tests.unit.test_topic_settings import BROKERS_DEFAULTS

SETTINGS = ServiceSettings(topic_replication_factor=3)


class ManagedCluster:
    """Refuses to create a topic that sets one of ``refused``, as Kafka as a service does. A topic has three replicas."""

    def __init__(self, error: type[BrokerResponseError], *refused: str) -> None:
        self.error = error
        self.refused = refused
        self.topics: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def __call__(self, **_: object) -> Self:
        return self

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def list_topics(self) -> list[str]:
        return list(self.topics)

    async def create_topics(self, topics: Sequence[NewTopic]) -> SimpleNamespace:
        return SimpleNamespace(topic_errors=[self._create(topic) for topic in topics])

    def _create(self, topic: NewTopic) -> tuple[str, int, str]:
        self.asked.append(topic.name)
        for setting in self.refused:
            if setting in topic.topic_configs:
                return topic.name, self.error.errno, f"{setting} cannot be set"
        self.topics[topic.name] = topic.topic_configs
        return topic.name, 0, ""

    async def describe_topics(self, names: Sequence[str]) -> list[dict[str, Any]]:
        return [{"topic": name, "error_code": 0, "partitions": [{"replicas": [1, 2, 3]}] * 6} for name in names]

    async def describe_configs(self, resources: Sequence[ConfigResource]) -> list[SimpleNamespace]:
        configs = {each.name: BROKERS_DEFAULTS | self.topics[each.name] for each in resources}
        return [SimpleNamespace(resources=[(0, "", 2, name, list(each.items())) for name, each in configs.items()])]

    async def describe_cluster(self) -> dict[str, str]:
        return {"cluster_id": "c"}


def test_delays_double_up_to_a_limit() -> None:
    backoff = Backoff(first_s=1, longest_s=5)
    assert [backoff.next_s() for _ in range(4)] == [1, 2, 4, 5]
    backoff.reset()
    assert backoff.next_s() == 1


def test_topics_with_the_declared_number_of_partitions_are_accepted() -> None:
    check_partition_counts({"orders": 6, "processed-orders": 6}, 6)


def test_the_advice_is_to_change_the_setting_if_all_topics_have_another_number() -> None:
    with pytest.raises(TopicMismatchError, match=r"'orders' has 12 .*'late-orders' has 12 .* says 6") as refused:
        check_partition_counts({"orders": 12, "late-orders": 12}, 6)
    assert "TOPIC_PARTITIONS=12" in refused.value.advice


@pytest.mark.parametrize("declared", [6, 12])
def test_the_advice_is_not_circular_if_topics_differ(declared: int) -> None:
    """A setting that fits one topic does not fit the other."""
    with pytest.raises(TopicMismatchError) as refused:
        check_partition_counts({"orders": 12, "late-orders": 6}, declared)
    assert ("'orders'" in str(refused.value)) == (declared == 6)
    assert "TOPIC_PARTITIONS=" not in refused.value.advice
    assert "make recompute" in refused.value.advice


def test_replication_factor_3_gets_min_insync_replicas_2() -> None:
    """With fewer replicas Kafka's default is kept: with two, one broker's failure would stop all writes."""
    for topic in ALL_TOPICS:
        assert config_of_new_topic(topic, 3) == {**topic.config, "min.insync.replicas": "2"}
        assert config_of_new_topic(topic, 5) == {**topic.config, "min.insync.replicas": "2"}
        assert config_of_new_topic(topic, 1) == config_of_new_topic(topic, 2) == topic.config
    assert config_of_new_topic(ANALYTICS_STATE, 3)["cleanup.policy"] == "compact"


@pytest.mark.parametrize("error", [InvalidConfigurationError, PolicyViolationError])
async def test_a_topic_is_created_without_the_settings_that_only_tune_it_if_the_broker_refuses_them(
    error: type[BrokerResponseError], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = ManagedCluster(error, "segment.bytes")
    monkeypatch.setattr(creation, "AIOKafkaAdminClient", cluster)
    with capture_logs() as logged:
        await creation.ensure_topics(SETTINGS, [ORDERS, ANALYTICS_STATE])
    assert cluster.topics == {
        "orders": config_of_new_topic(ORDERS, 3),
        "analytics-state": {"compression.type": "uncompressed", "cleanup.policy": "compact"},
    }
    [reduced] = [each for each in logged if "left_out" in each]
    assert (reduced["log_level"], reduced["topic"]) == ("warning", "analytics-state")
    assert reduced["left_out"].split(", ") == [
        "min.insync.replicas=2",
        "segment.bytes=16777216",
        "segment.ms=600000",
        "min.cleanable.dirty.ratio=0.1",
        "delete.retention.ms=3600000",
    ]
    assert reduced["error"].endswith("segment.bytes cannot be set")


async def test_what_is_left_out_breaks_no_rule_that_prevents_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ManagedCluster(InvalidConfigurationError, *creation.MAY_BE_LEFT_OUT)
    monkeypatch.setattr(creation, "AIOKafkaAdminClient", cluster)
    topics = (*ALL_TOPICS, DEAD_LETTERS_REPLAYED)
    with capture_logs() as logged:
        await creation.ensure_topics(SETTINGS, topics)
    assert cluster.topics.keys() == {topic.name for topic in topics}
    warned = [(each["topic"], each["setting"]) for each in logged if "setting" in each]
    expected = {(topic.name, "min.insync.replicas") for topic in topics} | {("analytics-state", "delete.retention.ms")}
    assert set(warned) == expected


@pytest.mark.parametrize("error", [InvalidConfigurationError, PolicyViolationError])
@pytest.mark.parametrize(
    ("topic", "refused", "wanted"),
    [
        (ANALYTICS_STATE, "cleanup.policy", "compression.type=uncompressed, cleanup.policy=compact"),
        (Topic("own", {"retention.ms": "long"}), "retention.ms", "retention.ms=long"),
    ],
)
async def test_a_setting_that_is_needed_is_not_left_out_and_the_advice_names_it(
    error: type[BrokerResponseError], topic: Topic, refused: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = ManagedCluster(error, refused)
    monkeypatch.setattr(creation, "AIOKafkaAdminClient", cluster)
    with pytest.raises(TopicRefusedError, match=f"{refused} cannot be set") as ended:
        await creation.ensure_topics(SETTINGS, [topic])
    assert cluster.asked == [topic.name] * 2
    assert f"create topic {topic.name!r} by hand, with {wanted} (docs/cluster.md" in ended.value.advice
