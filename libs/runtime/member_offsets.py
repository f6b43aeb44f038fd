"""Offsets in a transaction that only a current member of the group can commit (KIP-447).

aiokafka sends TxnOffsetCommit v0, which does not say who commits. The coordinator then notes the offset before it looks at
the producer's epoch, and when it refuses a zombie it forgets what it has noted for the producer id: the offset of the zombie's
successor, whose transaction is about to commit [Kafka 3.9: GroupMetadata.failPendingTxnOffsetCommit]. Version 3 names the
member and the generation, which are checked before anything is noted. To be dropped when aiokafka's
``send_offsets_to_transaction`` takes the group's metadata, as Java's does.
"""

from functools import partial, update_wrapper
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import CoordinationType
from aiokafka.errors import GroupAuthorizationFailedError, IllegalGenerationError, UnknownMemberIdError
from aiokafka.producer.sender import TxnOffsetCommitHandler
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Int64, Schema
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from libs.runtime.errors import NotAMemberError
from libs.runtime.flexible_schemas import NAME, TAGS, topics_of

_NOT_A_MEMBER = {IllegalGenerationError.errno, UnknownMemberIdError.errno}
_NO_LEADER_EPOCH = -1


class GroupMember(NamedTuple):
    """A group's name, and a member of it in one generation; -1 and "" are no member, of which the broker asks nothing."""

    group: str
    generation: int
    member_id: str


def current_member(consumer: AIOKafkaConsumer, group: str) -> GroupMember:
    """The member that ``consumer`` is now. To be asked when partitions are assigned: the fence is that it gets old."""
    coordinator: Any = consumer._coordinator  # noqa: SLF001 - no public way; a test checks that the names are there
    return GroupMember(group, coordinator.generation, coordinator.member_id)


def check_member(consumer: AIOKafkaConsumer, member: GroupMember) -> None:
    """Raise ``NotAMemberError`` if ``consumer`` knows that it is ``member`` no more."""
    if current_member(consumer, member.group) != member:
        raise _gone(member)


def _gone(member: GroupMember) -> NotAMemberError:
    return NotAMemberError(f"no member of the group any more: {member}")


class TxnOffsetCommitResponseV3(Response):
    """TxnOffsetCommit response, version 3."""

    API_KEY: ClassVar[int] = 28
    API_VERSION: ClassVar[int] = 3
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        topics_of(("partition_index", Int32), ("error_code", Int16)),
        TAGS,
    )


class TxnOffsetCommitRequestV3(RequestStruct):
    """TxnOffsetCommit request, version 3: the first with the member and its generation."""

    FLEXIBLE_VERSION = True
    API_KEY = 28
    API_VERSION = 3
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", NAME),
        ("group_id", NAME),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", NAME),
        ("group_instance_id", NAME),
        topics_of(
            ("partition_index", Int32),
            ("committed_offset", Int64),
            ("committed_leader_epoch", Int32),
            ("committed_metadata", NAME),
        ),
        TAGS,
    )


class _MemberOffsetCommit(Request[TxnOffsetCommitRequestV3]):
    API_KEY = 28

    def __init__(
        self,
        transactional_id: str,
        producer: tuple[int, int],
        member: GroupMember,
        offsets: dict[TopicPartition, OffsetAndMetadata],
    ) -> None:
        self._head = (transactional_id, member.group, *producer, member.generation, member.member_id, None)
        self._offsets = offsets

    def build(self, request_struct_class: type[TxnOffsetCommitRequestV3]) -> TxnOffsetCommitRequestV3:
        topics: list[tuple[object, ...]] = [
            (partition.topic, [(partition.partition, offset.offset, _NO_LEADER_EPOCH, offset.metadata, {})], {})
            for partition, offset in self._offsets.items()
        ]
        return request_struct_class(*self._head, topics, {})


class _MemberOffsetCommitHandler(TxnOffsetCommitHandler):
    def __init__(self, sender: Any, member: GroupMember, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        super().__init__(sender, offsets, member.group)  # type: ignore[no-untyped-call]
        self._member = member

    def create_request(self) -> _MemberOffsetCommit:
        transaction = self._sender._txn_manager  # noqa: SLF001 - as the one it stands in for
        producer = (transaction.producer_id, transaction.producer_epoch)
        return _MemberOffsetCommit(transaction.transactional_id, producer, self._member, self._offsets)

    def handle_response(self, resp: Any) -> float | None:
        errors = [(topic, [(number, code) for number, code, _ in partitions]) for topic, partitions, _ in resp.topics]
        if _NOT_A_MEMBER & {code for _, partitions in errors for _, code in partitions}:
            # Of the waiting call alone: were it raised here, or told to the transaction, aiokafka could not abort it.
            *_, waiting = self._sender._txn_manager._pending_txn_offsets.popleft()  # noqa: SLF001
            waiting.set_exception(_gone(self._member))
            return None
        backoff_s: float | None = super().handle_response(SimpleNamespace(errors=errors))  # type: ignore[no-untyped-call]
        return backoff_s


def commit_offsets_as(producer: AIOKafkaProducer, member: GroupMember) -> None:
    """Let ``producer.send_offsets_to_transaction`` fail with ``NotAMemberError`` once ``member`` is no longer current.

    Raises:
        AttributeError: aiokafka's sender has no such method any more.
    """
    sender: Any = producer._sender  # noqa: SLF001 - the only seam there is; tests on a broker fail when it is not used
    original = sender._do_txn_offset_commit  # noqa: SLF001
    sender._do_txn_offset_commit = update_wrapper(partial(_commit, sender, member), original)  # noqa: SLF001


async def _commit(
    sender: Any, member: GroupMember, offsets: dict[TopicPartition, OffsetAndMetadata], _group: str
) -> None:
    try:
        coordinator = await sender._find_coordinator(CoordinationType.GROUP, member.group)  # noqa: SLF001
    except GroupAuthorizationFailedError as error:
        sender._txn_manager.error_transaction(error)  # noqa: SLF001
        return
    await _MemberOffsetCommitHandler(sender, member, offsets).do(coordinator)  # type: ignore[no-untyped-call]
