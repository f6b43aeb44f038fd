import pytest

from libs.events.topics import ALL_TOPICS, ANALYTICS_STATE
from libs.runtime.backoff import Backoff
from libs.runtime.errors import TopicMismatchError
from libs.runtime.topics.creation import check_partition_counts, config_of_new_topic


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
