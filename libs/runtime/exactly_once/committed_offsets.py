"""The metadata of committed offsets, and the checks whether processing may start at an offset.

Every commit of a stage has metadata: a version, and the settings that state and outputs depend on. An offset without it was
set by another program, such as a tool that resets a group.
"""

from collections.abc import Mapping
from typing import NamedTuple

from aiokafka.structs import TopicPartition

from libs.runtime.errors import START_OVER, OffsetMismatchError, SettingChangedError, StateBehindError
from libs.runtime.kafka_client.partitioning import partition_name

_VERSION = "exactly-once-1"

NOT_TO_COMMIT = "not-to-commit"
"""The metadata of an offset whose transaction is aborted, see ``TransactionalProducer.find_coordinator``."""

STARTING_OVER = "starting-over"
"""The metadata of an offset while a tool deletes what the stage has written. No stage starts at such an offset."""


class CommittedOffset(NamedTuple):
    """A group's next offset to read, and the metadata of the commit."""

    offset: int
    metadata: str


def encode_metadata(depends_on: Mapping[str, int]) -> str:
    """The metadata of a commit; ``depends_on`` has the value of each setting by its name, such as WINDOW_SECONDS."""
    return " ".join([_VERSION, *(f"{name}={value}" for name, value in sorted(depends_on.items()))])


def is_ours(committed: CommittedOffset) -> bool:
    """Whether it was committed by a stage."""
    return committed.metadata.split(" ")[0] == _VERSION


def check_settings(source: TopicPartition, committed: CommittedOffset, depends_on: Mapping[str, int]) -> None:
    """Check that the settings are the same as at the last commit.

    Raises:
        SettingChangedError: naming the setting and both values.
    """
    if not is_ours(committed):
        return
    before = dict(pair.split("=", 1) for pair in committed.metadata.split(" ")[1:] if "=" in pair)
    for name, value in depends_on.items():
        if name in before and before[name] != str(value):
            raise SettingChangedError(
                f"{name}={value}, but {partition_name(source)} was processed with {name}={before[name]}",
                advice=f"set {name}={before[name]} again; for another value use another TOPIC_PREFIX, or {START_OVER}",
            )


def check_not_starting_over(source: TopicPartition, committed: CommittedOffset) -> None:
    """Check that no tool was interrupted while it deleted what the stage has written.

    Raises:
        OffsetMismatchError: one was, so any part of the outputs may be missing.
    """
    if committed.metadata == STARTING_OVER:
        raise OffsetMismatchError(
            f"a recomputation from the beginning of {partition_name(source)} was interrupted: some outputs may be deleted, and others not",
            advice="run `pipeline recompute` again (`make recompute`) with all services stopped; nothing is lost",
        )


def check_writer(source: TopicPartition, committed: CommittedOffset, setting: str) -> None:
    """Check that a stage without state has committed the offset itself.

    Raises:
        OffsetMismatchError: it has not, so outputs for records after or before that offset may already exist.
    """
    if not is_ours(committed):
        raise OffsetMismatchError(
            f"the committed offset {committed.offset} of {partition_name(source)} was not committed by this service: the group was "
            "reset, or used by a version before 0.2",
            advice=f"if the reset is intended, or after an upgrade, start once with {setting}=true: after a reset to an earlier offset, "
            f"what was processed before is processed again; for outputs without it, {START_OVER}",
        )


def check_gone(committed: Mapping[TopicPartition, CommittedOffset | None], setting: str) -> None:
    """Check that the committed offsets are not lost, for a stage whose output shows that it has run before.

    ``committed`` is of all partitions of the source; ``setting`` is what accepts it.

    Raises:
        OffsetMismatchError: no partition has a committed offset.
    """
    if not any(committed.values()):
        topic = next(iter(committed)).topic
        raise OffsetMismatchError(
            f"no offset of {topic} is committed, but there are records of its output: the group's offsets have expired, "
            "were deleted, or the topic was deleted and created again",
            advice=f"if {topic} was created again, start once with {setting}=true; otherwise raise the brokers' "
            f"offsets.retention.minutes, since what was processed before would be processed again, and {START_OVER}",
        )


def check_state(
    source: TopicPartition,
    committed: CommittedOffset | None,
    state_offset: int | None,
    changelog: str,
    *,
    group: str,
    bootstrap_servers: str,
) -> None:
    """Check that the restored state belongs to the committed offset.

    ``state_offset`` is the source offset in the topic ``changelog``, None if it has none; ``group`` committed the offset.
    ``bootstrap_servers`` is for the command in the advice.

    Raises:
        OffsetMismatchError: naming both; a StateBehindError if the state is the earlier one.
    """
    if state_offset is None or (committed is not None and committed.offset == state_offset):
        return
    found = "none" if committed is None else str(committed.offset)
    is_behind = committed is not None and state_offset < committed.offset
    raise (StateBehindError if is_behind else OffsetMismatchError)(
        f"the committed offset of {partition_name(source)} is {found}, but its state in {changelog} belongs to offset {state_offset}: "
        "going on would count records twice, or not at all",
        advice=f"if {source.topic} still has that offset, set it back with all replicas stopped: kafka-consumer-groups.sh "
        f"--bootstrap-server {bootstrap_servers} --group {group} --topic {source.topic}:{source.partition} --reset-offsets --to-offset "
        f"{state_offset} --execute; otherwise (the topic was deleted) {START_OVER}",
    )
