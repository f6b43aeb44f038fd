"""Errors of creating or describing topics that waiting does not fix."""

from collections.abc import Mapping

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
    TopicAuthorizationFailedError: "allow this client to create, describe, read and write the topics of TOPIC_PREFIX",
    ClusterAuthorizationFailedError: "allow this client to create topics, or create those of TOPIC_PREFIX by hand",
}
REFUSED_SETTINGS: tuple[type[KafkaError], ...] = (InvalidConfigurationError, PolicyViolationError)
"""The broker does not let a topic have these settings, this number of partitions or this replication factor."""


def refusal(error: BaseException, settings: ServiceSettings) -> TopicRefusedError | None:
    """The error to end the service with; None if ``error`` may be transient."""
    advice = _ADVICE.get(type(error))  # type: ignore[arg-type]  # None for any other error
    if advice is None:
        return None
    return _refused(error, settings, advice)


def settings_refusal(
    error: BaseException, settings: ServiceSettings, topic: str, config: Mapping[str, str]
) -> TopicRefusedError:
    """The error to end the service with if one of ``REFUSED_SETTINGS`` prevents the creation of ``topic`` with ``config``."""
    having = ", ".join(f"{name}={value}" for name, value in config.items()) or "the broker's default settings"
    return _refused(
        error,
        settings,
        f"create topic {topic!r} by hand, with {having} (docs/cluster.md has the settings of each topic); if the broker refuses"
        " the numbers, set TOPIC_PARTITIONS and TOPIC_REPLICATION_FACTOR as it asks",
    )


def _refused(error: BaseException, settings: ServiceSettings, advice: str) -> TopicRefusedError:
    return TopicRefusedError(
        f"the broker refuses: {error} (TOPIC_PARTITIONS={settings.topic_partitions},"
        f" TOPIC_REPLICATION_FACTOR={settings.topic_replication_factor})",
        advice=advice,
    )
