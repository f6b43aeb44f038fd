"""Consumers with the settings that the guarantees need."""

from typing import Any, Literal

from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.assignor import range_assignor
from libs.runtime.kafka_client.clients import AIOKafkaConsumer, client_arguments
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.timing import (
    FETCH_MAX_WAIT_MS,
    HEARTBEAT_INTERVAL_MS,
    NO_MAX_POLL_INTERVAL_MS,
    REBALANCE_TIMEOUT_MS,
    SESSION_TIMEOUT_MS,
)

# Two of the largest batches that a stage writes. The default of 1 MiB is no faster, and takes 20 MB more memory if six
# partitions have a backlog.
FETCH_BYTES = 512 * 1024
# For all partitions together: those of six partitions, so that more partitions hardly take more memory. With the default of
# 50 MiB and a backlog in 200 partitions the analytics takes 200 MB, with this limit 80.
FETCH_MAX_BYTES = 6 * FETCH_BYTES


async def refresh_metadata(consumer: AIOKafkaConsumer) -> None:
    """Ask a broker for the leaders of the consumer's partitions, which otherwise happens twice a minute."""
    await consumer._client.force_metadata_update()  # noqa: SLF001 - there is no public way


def leader_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The broker that the consumer takes for the leader; None or -1 if it knows none."""
    leader: int | None = consumer._client.cluster.leader_for_partition(partition)  # noqa: SLF001 - as above
    return leader


def broker_count(consumer: AIOKafkaConsumer) -> int:
    """The number of brokers that the consumer knows."""
    return len(consumer._client.cluster.brokers())  # noqa: SLF001 - as above


def consumer_arguments(
    settings: ServiceSettings,
    group: str | None,
    *,
    fetch_max_wait_ms: int = FETCH_MAX_WAIT_MS,
    fetch_bytes: int = FETCH_BYTES,
    auto_offset_reset: Literal["earliest", "none"] = "earliest",
) -> dict[str, Any]:
    """Arguments of a consumer of committed records without auto-commit; with ``group`` it is a member of that group.

    It fetches ``fetch_bytes`` of each partition at a time, or one batch if that is larger.
    """
    return dict(
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
        fetch_max_bytes=FETCH_MAX_BYTES,
        max_poll_interval_ms=NO_MAX_POLL_INTERVAL_MS,
        metadata_max_age_ms=30_000,
    )
