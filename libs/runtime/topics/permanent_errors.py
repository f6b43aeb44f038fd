"""Errors of creating or describing topics that waiting does not fix."""

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)

from libs.runtime.errors import TopicRefusedError
from libs.runtime.service.settings import ServiceSettings

_ADVICE: dict[type[KafkaError], str] = {
    InvalidReplicationFactorError: "start more brokers, or set TOPIC_REPLICATION_FACTOR to at most as many as there are",
    InvalidPartitionsError: "set TOPIC_PARTITIONS to a number that the broker allows",
    InvalidTopicError: "set TOPIC_PREFIX to something shorter or plainer",
    InvalidConfigurationError: "use Kafka 2.5 or later; older ones do not know each of the topic's settings",
    PolicyViolationError: "set TOPIC_PARTITIONS and TOPIC_REPLICATION_FACTOR as the cluster's policy asks, or create the"
    " topic by hand",
    TopicAuthorizationFailedError: "allow this client to create, describe, read and write the topics of TOPIC_PREFIX",
    ClusterAuthorizationFailedError: "allow this client to create topics, or create those of TOPIC_PREFIX by hand",
}


def refusal(error: BaseException, settings: ServiceSettings) -> TopicRefusedError | None:
    """The error to end the service with; None if ``error`` may be transient."""
    advice = _ADVICE.get(type(error))  # type: ignore[arg-type]  # None for any other error
    if advice is None:
        return None
    return TopicRefusedError(
        f"the broker refuses: {error} (TOPIC_PARTITIONS={settings.topic_partitions},"
        f" TOPIC_REPLICATION_FACTOR={settings.topic_replication_factor})",
        advice=advice,
    )
