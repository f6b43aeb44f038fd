"""Collects facts about a cluster: brokers, topics, clock, and transactions that stay open. It writes nothing."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.admin import ApiVersionRequest

from doctor.cluster_facts import ClusterFacts, Failure, Partition, TopicFacts
from doctor.collect_clock import collect_clock
from doctor.collect_transactions import WATCH_S, OpenTransactions, collect_open_transactions
from doctor.topic_findings import TOPICS
from libs.events.topics import ORDERS, STAGES
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_client.clients import AIOKafkaAdminClient, Kafka, client_arguments
from libs.runtime.topics.comparison import topic_configs
from libs.runtime.transactions.connection import BrokerConnection
from libs.runtime.transactions.missing_markers import OFFSETS_TOPIC, group_partition

_REQUEST_TIMEOUT_MS = 10_000
_INTERNAL_TOPICS = (OFFSETS_TOPIC, "__transaction_state")

T = TypeVar("T")
Progress = Callable[[str], None]


async def collect_cluster_facts(kafka: Kafka, prefix: str, progress: Progress) -> ClusterFacts:
    """All facts. Takes a little longer than ``WATCH_S``, the time for which clock and transactions are watched.

    Raises:
        KafkaError, OSError, PipelineError: no broker answers.
    """
    progress("asking the brokers")
    admin = AIOKafkaAdminClient(**client_arguments(kafka), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        seen, missing, denied = _sorted_out(await _described(admin, prefix), prefix)
        internal_topics = await _internal_topics(admin)
        configs = await _topic_configs(admin, seen, prefix)
        broker_config = await _broker_config(admin, cluster["brokers"][0]["node_id"])
    finally:
        await admin.close()
    topics = {name: _topic(name, topic, configs.get(prefix + name)) for name, topic in seen.items()}
    progress(f"watching the clock and the transactions for {WATCH_S:.0f} s")
    partitions = _partitions_of(topics, prefix) | _partitions_of_groups(internal_topics, prefix)
    connection = await BrokerConnection.open(kafka, list(partitions))
    try:
        versions = await _versions(connection)
        seen_open, clock = await asyncio.gather(
            _or_failure(collect_open_transactions(kafka, connection, partitions)),
            _or_failure(collect_clock(kafka, prefix + ORDERS.name, partitions.get(prefix + ORDERS.name, ()), WATCH_S)),
        )
    finally:
        await connection.close()
    transactions = OpenTransactions() if isinstance(seen_open, Failure) else seen_open
    return ClusterFacts(
        brokers=len(cluster["brokers"]),
        versions=versions,
        broker_config=broker_config,
        topics=topics,
        missing=missing,
        denied=denied,
        internal_topics=internal_topics,
        clock=clock,
        watched_s=WATCH_S,
        open_transactions=seen_open if isinstance(seen_open, Failure) else transactions.found,
        transactions_denied=transactions.denied,
        producers_failure=transactions.failure,
    )


async def _or_failure(collecting: Awaitable[T]) -> T | Failure:
    """A part that fails must not hide what the others have found, which may be why it fails."""
    try:
        return await collecting
    except (KafkaError, OSError, PipelineError) as error:
        return Failure(described(error))


async def partitions_to_watch(kafka: Kafka, prefix: str) -> dict[str, tuple[int, ...]]:
    """The partitions, by topic, in which an open transaction of the pipeline can block a reader.

    Raises:
        KafkaError, OSError, PipelineError: no broker answers.
    """
    admin = AIOKafkaAdminClient(**client_arguments(kafka), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        seen, _, _ = _sorted_out(await _described(admin, prefix), prefix)
        internal_topics = await _internal_topics(admin)
    finally:
        await admin.close()
    topics = {name: _topic(name, topic, None) for name, topic in seen.items()}
    return _partitions_of(topics, prefix) | _partitions_of_groups(internal_topics, prefix)


async def _described(admin: AIOKafkaAdminClient, prefix: str) -> Sequence[Mapping[str, Any]]:
    described: Sequence[Mapping[str, Any]] = await admin.describe_topics([prefix + topic.name for topic in TOPICS])
    return described


async def _internal_topics(admin: AIOKafkaAdminClient) -> dict[str, TopicFacts]:
    """Those that this client may see."""
    described = await admin.describe_topics(list(_INTERNAL_TOPICS))
    return {topic["topic"]: _topic(topic["topic"], topic, None) for topic in described if not topic["error_code"]}


def _sorted_out(
    described: Sequence[Mapping[str, Any]], prefix: str
) -> tuple[dict[str, Mapping[str, Any]], tuple[str, ...], tuple[str, ...]]:
    """The topics described, the names of those missing, and of those not allowed; without prefix."""
    seen: dict[str, Mapping[str, Any]] = {}
    missing, denied = [], []
    for topic in described:
        name = topic["topic"].removeprefix(prefix)
        error = for_code(topic["error_code"]) if topic["error_code"] else None
        if error is TopicAuthorizationFailedError:
            denied.append(name)
        elif error is UnknownTopicOrPartitionError:
            missing.append(name)
        elif error is not None and not topic["partitions"]:
            raise PipelineError(f"topic {topic['topic']!r}: {error.__name__}", advice="run `pipeline doctor` again")
        else:
            seen[name] = topic
    return seen, tuple(missing), tuple(denied)


def _topic(name: str, described: Mapping[str, Any], config: Mapping[str, str] | None) -> TopicFacts:
    partitions = tuple(
        Partition(
            each["partition"],
            each["leader"] if each["leader"] >= 0 else None,
            tuple(each["replicas"]),
            tuple(each["isr"]),
        )
        for each in sorted(described["partitions"], key=lambda each: int(each["partition"]))
    )
    return TopicFacts(name, partitions, config)


async def _topic_configs(
    admin: AIOKafkaAdminClient, names: Collection[str], prefix: str
) -> Mapping[str, Mapping[str, str]]:
    """The settings of each topic that this client is allowed to describe, by the topic's full name."""
    found: dict[str, Mapping[str, str]] = {}
    for name in names:  # each by itself, since the call fails as a whole if one is denied
        with contextlib.suppress(TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            found |= await topic_configs(admin, [prefix + name])
    return found


async def _broker_config(admin: AIOKafkaAdminClient, broker: int) -> Mapping[str, str] | None:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, str(broker))])
    ((code, _, _, _, entries),) = answer.resources  # type: ignore[attr-defined]  # aiokafka's base class has no fields
    if code:
        return None
    return {name: value for name, value, *_ in entries if value is not None}


async def _versions(connection: BrokerConnection) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, broker in enumerate(connection.brokers()):
        answer = await connection.send(broker, ApiVersionRequest())
        newest = {key: version for key, _, version in answer.api_versions}
        found = newest if number == 0 else {key: min(found[key], newest[key]) for key in found.keys() & newest.keys()}
    return found


def _partitions_of(topics: Mapping[str, TopicFacts], prefix: str) -> dict[str, tuple[int, ...]]:
    """The partitions that have a leader, by the topics' full names."""
    return {
        prefix + name: tuple(each.number for each in topic.partitions if each.leader is not None)
        for name, topic in topics.items()
    }


def _partitions_of_groups(internal_topics: Mapping[str, TopicFacts], prefix: str) -> dict[str, tuple[int, ...]]:
    """The partitions with the offsets of the stages' groups that have a leader.

    An open transaction there keeps a stage from starting.
    """
    offsets = internal_topics.get(OFFSETS_TOPIC)
    if offsets is None:
        return {}
    numbers = {group_partition(prefix + stage, len(offsets.partitions)) for stage in STAGES}
    return {
        OFFSETS_TOPIC: tuple(
            each.number for each in offsets.partitions if each.number in numbers and each.leader is not None
        )
    }
