"""What was set on topics by hand: it is lost when they are deleted, since the services create them again as declared."""

from collections.abc import Sequence

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from libs.runtime.kafka_client.clients import AIOKafkaAdminClient
from libs.runtime.topics.creation import config_of_new_topic
from libs.runtime.topics.topic import Topic

_SET_ON_THE_TOPIC = 1  # the source of a setting's value, by KIP-226


async def replica_counts(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """The replicas of each topic by its name; one that is being deleted is left out."""
    described = await admin.describe_topics(list(names)) if names else []
    return {each["topic"]: len(each["partitions"][0]["replicas"]) for each in described if each["partitions"]}


async def lost_settings(
    admin: AIOKafkaAdminClient, specs: Sequence[Topic], topic_prefix: str, replicas: dict[str, int]
) -> list[str]:
    """The settings of the topics in ``replicas`` that differ from the declared ones, each as ``topic: name=value``.

    Of a topic whose settings this client may not read, it says that.

    Raises:
        KafkaError: the broker rejects the request.
    """
    declared = {
        name: config_of_new_topic(spec, replicas[name])
        for spec in specs
        if (name := topic_prefix + spec.name) in replicas
    }
    if not declared:
        return []
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in declared])
    lost = []
    for code, message, _, topic, entries in response.resources:  # type: ignore[attr-defined]  # no fields in the base class
        error = for_code(code)
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            lost.append(f"{topic}: unknown, since this client lacks DESCRIBE_CONFIGS")
            continue
        if error is UnknownTopicOrPartitionError:
            continue  # an interrupted run has deleted it
        if code:
            raise error(f"topic {topic!r}: {message}")
        lost += [
            f"{topic}: {setting}={value}"
            for setting, value, _, source, *_ in entries
            if source == _SET_ON_THE_TOPIC and value is not None and value != declared[topic].get(setting)
        ]
    return lost
