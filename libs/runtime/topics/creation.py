"""Waits for the broker, creates missing topics, and checks existing ones."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiokafka.admin import NewTopic
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from libs.runtime.backoff import Backoff
from libs.runtime.errors import START_OVER, PipelineError, TopicMismatchError
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, client_arguments
from libs.runtime.kafka_security.login_rejections import raise_final_rejection
from libs.runtime.rights.denials import DENIALS
from libs.runtime.rights.right import Operation, Resource, Right, missing_right_error
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.comparison import compare_settings
from libs.runtime.topics.permanent_errors import REFUSED_SETTINGS, refusal, settings_refusal
from libs.runtime.topics.rules import Cluster
from libs.runtime.topics.topic import Topic

log = structlog.get_logger()

_BECOMES_KNOWN_S = 5.0
# Two of three brokers have a record before it is acknowledged: any one may fail, without data loss and without a wait.
_REPLICATED = 3
_OF_REPLICATED = {"min.insync.replicas": "2"}
# Kafka as a service may not let a topic have these. Of them only min.insync.replicas matters for the guarantees: it usually
# has the right value there, and the comparison that follows warns if not.
MAY_BE_LEFT_OUT = {
    "min.insync.replicas",
    "segment.bytes",
    "segment.ms",
    "min.cleanable.dirty.ratio",
    "delete.retention.ms",
}
_BROKERS_COME_UP_S = 60.0


async def ensure_topics(settings: ServiceSettings, topics: Iterable[Topic]) -> Cluster:
    """Wait for the broker, however long it takes; create missing topics and check the others.

    If there are fewer brokers than the replication factor, others may still be starting: wait ``_BROKERS_COME_UP_S`` for them.

    Returns:
        The cluster's id, and the settings of the topics.

    Raises:
        TopicMismatchError: a topic's number of partitions is not the declared one, or a setting breaks a guarantee.
        TopicRefusedError: the broker reports an error that waiting does not fix.
        MissingRightError: a topic is missing, and this client may not create it.
    """
    backoff = Backoff()
    too_few_since_s: float | None = None
    specs = list(topics)
    while True:
        admin = AIOKafkaAdminClient(**client_arguments(settings.kafka))
        try:
            await admin.start()
            backoff.reset()
            replicas = await _create_missing(admin, settings, specs)
            found = await compare_settings(admin, settings.topic_prefix, specs, replicas)
            cluster = await admin.describe_cluster()
            return Cluster(str(cluster["cluster_id"]), found)
        except (KafkaError, OSError, AssertionError, TimeoutError) as error:
            # aiokafka's client raises AssertionError before it has any metadata.
            raise_final_rejection()
            if isinstance(error, IncompatibleBrokerVersion):
                raise PipelineError(f"the broker is too old: {error}", advice="use Kafka 2.5 or later") from error
            refused = refusal(error, settings)
            if isinstance(error, InvalidReplicationFactorError):
                too_few_since_s = too_few_since_s or time.monotonic()
                if time.monotonic() - too_few_since_s < _BROKERS_COME_UP_S:
                    refused = None
            if refused is not None:
                raise refused from error
            delay_s = backoff.next_s()
            log.warning(
                "waiting for the broker",
                servers=settings.kafka_bootstrap_servers,
                error=_describe(error),
                retry_in_s=delay_s,
            )
            await asyncio.sleep(delay_s)
        finally:
            await admin.close()


async def _create_missing(admin: AIOKafkaAdminClient, settings: ServiceSettings, specs: list[Topic]) -> dict[str, int]:
    """Returns the replication factor of each topic, by its name without prefix."""
    names = [settings.topic_prefix + spec.name for spec in specs]
    existing = set(await admin.list_topics())
    # Before others are created with a number that does not fit: those would have to be deleted again.
    described = await _described(admin, [name for name in names if name in existing])
    _check_partitions(described, settings)
    missing = [
        _new_topic(name, settings, config_of_new_topic(spec, settings.topic_replication_factor))
        for name, spec in zip(names, specs, strict=True)
        if name not in existing
    ]
    if missing:
        await _create(admin, settings, missing)
        described = await _described(admin, names)
        _check_partitions(described, settings)
    replicas = {}
    for topic in described:
        name = topic["topic"].removeprefix(settings.topic_prefix)
        replicas[name] = min(len(partition["replicas"]) for partition in topic["partitions"])
    return replicas


def _new_topic(name: str, settings: ServiceSettings, config: dict[str, str]) -> NewTopic:
    return NewTopic(name, settings.topic_partitions, settings.topic_replication_factor, topic_configs=config)


async def _create(admin: AIOKafkaAdminClient, settings: ServiceSettings, topics: list[NewTopic]) -> None:
    """Create ``topics``; one whose settings are refused once more, without those that may be left out."""
    response = await admin.create_topics(topics)
    _check_may_create(response.topic_errors, settings)  # type: ignore[attr-defined]  # aiokafka's base class has no fields
    configs = {topic.name: topic.topic_configs for topic in topics}
    reduced = []
    for name, code, *message in response.topic_errors:  # type: ignore[attr-defined]  # as above
        if code == 0:
            log.info("topic created", topic=name, partitions=settings.topic_partitions)
            continue
        error = for_code(code)(f"creating topic {name!r}: {' '.join(map(str, message))}")
        if isinstance(error, REFUSED_SETTINGS):
            left_out = {setting: value for setting, value in configs[name].items() if setting in MAY_BE_LEFT_OUT}
            needed = {setting: value for setting, value in configs[name].items() if setting not in left_out}
            if not left_out:
                raise settings_refusal(error, settings, name, needed)
            log.warning(
                "the broker refuses a topic's settings; creating it without some",
                topic=name,
                left_out=", ".join(f"{setting}={value}" for setting, value in left_out.items()),
                error=str(error),
            )
            reduced.append(_new_topic(name, settings, needed))
        elif not isinstance(error, TopicAlreadyExistsError):  # another service was faster
            raise error
    if reduced:
        await _create(admin, settings, reduced)


def _check_partitions(described: list[dict[str, Any]], settings: ServiceSettings) -> None:
    check_partition_counts({topic["topic"]: len(topic["partitions"]) for topic in described}, settings.topic_partitions)


def _check_may_create(topic_errors: Iterable[Any], settings: ServiceSettings) -> None:
    denied = [name for name, code, *_ in topic_errors if for_code(code) in DENIALS]
    if denied:
        rights = [Right(Operation.CREATE, Resource.TOPIC, name) for name in denied]
        raise missing_right_error(
            rights, "", settings.kafka, advice="grant it, or have them created by someone else with the same partitions"
        )


def config_of_new_topic(spec: Topic, replicas: int) -> dict[str, str]:
    """The declared configuration, and ``min.insync.replicas`` for this number of replicas."""
    return (_OF_REPLICATED if replicas >= _REPLICATED else {}) | dict(spec.config)


def check_partition_counts(counts: Mapping[str, int], declared: int) -> None:
    """Compare the number of partitions of each topic with ``TOPIC_PARTITIONS``.

    Raises:
        TopicMismatchError: naming each topic with another number, with advice for all of them together.
    """
    others = [f"topic {topic!r} has {count} partitions" for topic, count in counts.items() if count != declared]
    if not others:
        return
    found = set(counts.values())
    if len(found) == 1:
        advice = f"set TOPIC_PARTITIONS={found.pop()}, or use another TOPIC_PREFIX"
    else:
        advice = (
            "all topics of a pipeline have as many partitions as its source topic: set TOPIC_PARTITIONS to that number, and"
            f" {START_OVER}; or use another TOPIC_PREFIX"
        )
    raise TopicMismatchError(f"{', '.join(others)}, TOPIC_PARTITIONS says {declared}", advice=advice)


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> list[dict[str, Any]]:
    """The topics' metadata, once the broker knows them all: a new topic takes a moment to become known."""
    if not names:
        return []
    deadline = time.monotonic() + _BECOMES_KNOWN_S
    while True:
        topics: list[dict[str, Any]] = await admin.describe_topics(names)
        unknown = next((topic for topic in topics if topic["error_code"]), None)
        if unknown is None:
            return topics
        if time.monotonic() > deadline:
            raise for_code(unknown["error_code"])(f"topic {unknown['topic']!r}")
        await asyncio.sleep(0.1)


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
