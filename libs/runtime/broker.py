"""Reaching the broker: waiting for it, creating topics, making clients with the settings that the guarantees need."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import structlog
from aiokafka.admin import NewTopic
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from libs.runtime.errors import PipelineError, TopicMismatchError
from libs.runtime.exactly_once.assignor import range_assignor
from libs.runtime.header_keys import AnyHeaderConsumer
from libs.runtime.kafka_clients import AIOKafkaAdminClient, AIOKafkaConsumer, client_arguments
from libs.runtime.kafka_security.login_refusals import raise_final_refusal
from libs.runtime.refusals import refusal
from libs.runtime.settings import ServiceSettings
from libs.runtime.timing import (
    FETCH_MAX_WAIT_MS,
    HEARTBEAT_INTERVAL_MS,
    NO_MAX_POLL_INTERVAL_MS,
    REBALANCE_TIMEOUT_MS,
    SESSION_TIMEOUT_MS,
)
from libs.runtime.topic_comparison import compare_settings
from libs.runtime.topic_settings import Cluster, Rule

log = structlog.get_logger()

# Two of the largest batches that a stage writes. The default of 1 MiB is no quicker, and costs 20 MB of memory more where
# six partitions have a backlog.
FETCH_BYTES = 512 * 1024
_BECOMES_KNOWN_S = 5.0
# Two of three brokers have a record before it is acknowledged: any one may fail then, and nothing is lost nor waits.
_REPLICATED = 3
_OF_REPLICATED = {"min.insync.replicas": "2"}
_BROKERS_COME_UP_S = 60.0


class TopicSpec(Protocol):
    """A topic as declared: its name without prefix, its configuration, and the rules for one that exists."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Mapping[str, str]: ...
    @property
    def rules(self) -> Sequence[Rule]: ...


class Backoff:
    """Doubling delays, from ``first_s`` to ``longest_s``."""

    def __init__(self, first_s: float = 0.2, longest_s: float = 5.0) -> None:
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s

    def next_s(self) -> float:
        delay_s = self._next_s
        self._next_s = min(2 * delay_s, self._longest_s)
        return delay_s

    def reset(self) -> None:
        self._next_s = self._first_s


async def ensure_topics(settings: ServiceSettings, topics: Iterable[TopicSpec]) -> Cluster:
    """Wait for the broker, however long it takes; create the topics that are missing and check the others.

    Brokers that are too few for the replication factor may be starting: they are given ``_BROKERS_COME_UP_S``.

    Returns:
        The cluster's id, and the settings of the topics.

    Raises:
        TopicMismatchError: a topic has another number of partitions than declared, or a setting that breaks a guarantee.
        TopicRefusedError: the broker answers something that waiting does not mend.
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
            # AssertionError: aiokafka's client before it has any metadata.
            raise_final_refusal()
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


async def _create_missing(
    admin: AIOKafkaAdminClient, settings: ServiceSettings, specs: list[TopicSpec]
) -> dict[str, int]:
    """Returns the replication factor of each topic, by its name without prefix."""
    names = [settings.topic_prefix + spec.name for spec in specs]
    existing = set(await admin.list_topics())
    missing = [
        NewTopic(
            name=name,
            num_partitions=settings.topic_partitions,
            replication_factor=settings.topic_replication_factor,
            topic_configs=config_of_new_topic(spec, settings.topic_replication_factor),
        )
        for name, spec in zip(names, specs, strict=True)
        if name not in existing
    ]
    if missing:
        response = await admin.create_topics(missing)
        for name, code, *message in response.topic_errors:  # type: ignore[attr-defined]  # aiokafka's base class has no fields
            error = for_code(code)
            if code == 0:
                log.info("topic created", topic=name, partitions=settings.topic_partitions)
            elif error is not TopicAlreadyExistsError:  # another service was quicker
                raise error(f"creating topic {name!r}: {' '.join(map(str, message))}")
    replicas = {}
    described = await _described(admin, names)
    check_partition_counts({topic["topic"]: len(topic["partitions"]) for topic in described}, settings.topic_partitions)
    for topic in described:
        name = topic["topic"].removeprefix(settings.topic_prefix)
        replicas[name] = min(len(partition["replicas"]) for partition in topic["partitions"])
    return replicas


def config_of_new_topic(spec: TopicSpec, replicas: int) -> dict[str, str]:
    """What is declared, and how many of the ``replicas`` have to have a record before it is acknowledged."""
    return (_OF_REPLICATED if replicas >= _REPLICATED else {}) | dict(spec.config)


def check_partition_counts(counts: Mapping[str, int], declared: int) -> None:
    """Compare the number of partitions of each topic with ``TOPIC_PARTITIONS``.

    Raises:
        TopicMismatchError: naming each topic that has another, with advice that holds for all of them together.
    """
    others = [f"topic {topic!r} has {count} partitions" for topic, count in counts.items() if count != declared]
    if not others:
        return
    found = set(counts.values())
    if len(found) == 1:
        advice = f"set TOPIC_PARTITIONS={found.pop()}, or use another TOPIC_PREFIX"
    else:
        advice = (
            "all topics of a pipeline have as many as `orders`: stop all services, `make recompute` (which begins anew from the"
            " records that `orders` still has), and start all with TOPIC_PARTITIONS as many as `orders` has;"
            " or use another TOPIC_PREFIX"
        )
    raise TopicMismatchError(f"{', '.join(others)}, TOPIC_PARTITIONS says {declared}", advice=advice)


async def _described(admin: AIOKafkaAdminClient, names: list[str]) -> list[dict[str, Any]]:
    """The topics' metadata, once the broker has heard of them all: a new one takes a moment to become known."""
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


def committed_consumer(
    settings: ServiceSettings,
    group: str | None,
    *,
    fetch_max_wait_ms: int = FETCH_MAX_WAIT_MS,
    fetch_bytes: int = FETCH_BYTES,
    auto_offset_reset: Literal["earliest", "none"] = "earliest",
    kind: type[AnyHeaderConsumer] = AnyHeaderConsumer,
) -> AIOKafkaConsumer:
    """A consumer of committed records that never commits by itself; with ``group`` a member of it.

    It asks for ``fetch_bytes`` of each partition at a time, or for one batch if that is larger.
    """
    return kind(
        **client_arguments(settings.kafka),
        group_id=group and settings.topic_prefix + group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset=auto_offset_reset,
        # With two or more assignors aiokafka sends a JoinGroup for each.
        partition_assignment_strategy=[range_assignor(settings.topic_partitions)],
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        fetch_max_wait_ms=fetch_max_wait_ms,
        max_partition_fetch_bytes=fetch_bytes,
        max_poll_interval_ms=NO_MAX_POLL_INTERVAL_MS,
        metadata_max_age_ms=30_000,
    )
