"""The start of an attempt: transactions that it ends, its transactional id, and its start offsets."""

import asyncio
from collections.abc import AsyncIterator, Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff
from libs.runtime.errors import NotAMemberError, OffsetMismatchError, SettingChangedError, TransactionFencedError
from libs.runtime.exactly_once import take_over
from libs.runtime.exactly_once import worker as worker_module
from libs.runtime.exactly_once.committed_offsets import CommittedOffset, encode_metadata
from libs.runtime.exactly_once.group_member import GroupMember
from libs.runtime.exactly_once.processing import Processing
from libs.runtime.exactly_once.retries import Retries
from libs.runtime.exactly_once.worker import ReplicaWorker
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.unit.exactly_once.fakes import MEMBER, ORDERS, FakeConsumer, FakeLogic, make_stage, make_watch

PREFIX = "mine."
OURS = encode_metadata({"TOPIC_PARTITIONS": len(ORDERS)})


class Broker:
    """Records the requests of an attempt in order, and fails at ``fails_at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.now_s = 0.0
        self.fails_at: Any = None
        self.committed: dict[TopicPartition, int] = {}
        self.changelog: dict[TopicPartition, list[str]] = {}
        self.metadata = OURS
        monkeypatch.setattr(worker_module, "BrokerConnection", SimpleNamespace(open=self._open))
        monkeypatch.setattr(worker_module, "end_former_transactions", self._end_former)
        monkeypatch.setattr(worker_module, "end_transaction", self._end)
        monkeypatch.setattr(worker_module, "TransactionalProducer", self._producer)
        monkeypatch.setattr(take_over, "stable_offsets", self._stable_offsets)
        monkeypatch.setattr(take_over, "read_changelog", self._read_changelog)
        monkeypatch.setattr(Processing, "run", self._process)

    async def _note(self, *what: Any) -> None:
        self.asked.append(what)
        self.now_s += 0.125
        await asyncio.sleep(0)
        if what[0] == self.fails_at:
            raise RuntimeError("refused")

    async def _open(self, _: object, topics: list[str]) -> Any:
        await self._note("open", *topics)
        return SimpleNamespace(close=lambda: self._note("close"))

    async def _end_former(self, _: object, ids: object, generation: int) -> None:
        await self._note("end former", generation)

    async def _end(self, _: object, transactional_id: str) -> None:
        await self._note("end", transactional_id)

    def _producer(self, _: object, transactional_id: str, topic_prefix: str, offset_metadata: str) -> Any:
        assert (topic_prefix, offset_metadata) == (PREFIX, OURS)
        return SimpleNamespace(
            transactional_id=transactional_id,
            start=lambda: self._note("start", transactional_id),
            abort=lambda: self._note("abort", transactional_id),
        )

    async def _stable_offsets(
        self, _: object, group: str, sources: Collection[TopicPartition]
    ) -> dict[TopicPartition, CommittedOffset | None]:
        await self._note("offsets", group, *sources)
        return {
            source: CommittedOffset(self.committed[source], self.metadata) if source in self.committed else None
            for source in sources
        }

    async def _read_changelog(
        self, _: object, changelogs: Collection[TopicPartition]
    ) -> AsyncIterator[tuple[TopicPartition, list[str]]]:
        await self._note("changelog", *changelogs)
        for changelog in changelogs:
            if found := self.changelog.get(changelog):
                yield changelog, found

    async def _process(self, until_s: float) -> None:
        await self._note("process", until_s == float("inf"))


class Fixture:
    """A worker of the first two partitions."""

    def __init__(self, *, changelog: str | None = None, member: GroupMember = MEMBER, accepted: bool = False) -> None:
        self.consumer = FakeConsumer()
        untyped: Any = self.consumer
        untyped._coordinator = SimpleNamespace(generation=MEMBER.generation, member_id=MEMBER.member_id)
        self.logics = {source: FakeLogic() for source in ORDERS}
        self.worker = ReplicaWorker(
            make_stage(lambda *source: self.logics[TopicPartition(*source)], changelog=changelog, accepted=accepted),
            ServiceSettings(topic_prefix=PREFIX, topic_partitions=len(ORDERS)),
            untyped,
            ORDERS[:2],
            member,
            StageTransactionalIds(PREFIX, "processor"),
            make_watch(),
            Health(),
        )

    async def attempt(self) -> None:
        await self.worker._attempt()


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(monkeypatch)


def id_of(attempt: int) -> str:
    return f"mine.processor-7-member-{attempt}"


async def test_transactions_of_former_members_end_before_offsets_are_read_and_offsets_are_read_before_processing(
    broker: Broker,
) -> None:
    broker.committed = dict.fromkeys(ORDERS, 5)
    await Fixture().attempt()
    assert broker.asked == [
        ("open", "mine.out"),
        ("end former", 7),
        ("start", id_of(0)),
        ("offsets", "group", *ORDERS[:2]),
        ("process", True),
        ("abort", id_of(0)),
        ("close",),
    ]


@pytest.mark.parametrize("step", ["start", "offsets", "process"])
async def test_the_next_attempt_has_a_new_transactional_id_and_ends_the_failed_ones_transaction(
    step: str, broker: Broker
) -> None:
    fixture, broker.fails_at = Fixture(), step
    with pytest.raises(RuntimeError, match="refused"):
        await fixture.attempt()
    assert broker.asked[-2:] == [("abort", id_of(0)), ("close",)]
    broker.asked, broker.fails_at = [], None
    await fixture.attempt()
    assert broker.asked[1:3] == [("end", id_of(0)), ("start", id_of(1))]
    broker.asked = []
    await fixture.attempt()
    assert broker.asked[1:3] == [("end", id_of(1)), ("start", id_of(2))]


async def test_a_transaction_that_could_not_be_ended_is_ended_by_a_later_attempt(broker: Broker) -> None:
    fixture = Fixture()
    await fixture.attempt()
    broker.asked, broker.fails_at = [], "end"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="refused"):
            await fixture.attempt()
    broker.asked, broker.fails_at = [], None
    await fixture.attempt()
    assert broker.asked[1:3] == [("end", id_of(0)), ("start", id_of(1))]


async def test_a_worker_of_an_older_generation_sends_no_requests(broker: Broker) -> None:
    with pytest.raises(NotAMemberError):
        await Fixture(member=MEMBER._replace(generation=6)).attempt()
    assert not broker.asked


async def test_each_partition_is_read_from_its_committed_offset(broker: Broker) -> None:
    fixture = Fixture()
    broker.committed = {ORDERS[0]: 50}
    fixture.consumer.first = {ORDERS[0]: 30, ORDERS[1]: 20}
    await fixture.attempt()
    assert fixture.consumer.positions == {ORDERS[0]: 50, ORDERS[1]: 20}
    processing = cast(Any, fixture.worker._processing)
    assert {source: partition.position for source, partition in processing._partitions.items()} == {
        ORDERS[0]: 50,
        ORDERS[1]: 20,
    }


async def test_state_is_restored_after_the_offsets_were_read(broker: Broker) -> None:
    """A changelog that is read earlier could be older than the offset."""
    fixture = Fixture(changelog="state")
    state = [TopicPartition("mine.state", number) for number in range(2)]
    broker.changelog = {state[1]: ["a", "b"]}
    broker.committed = {ORDERS[1]: 5}
    await fixture.attempt()
    steps = [what[0] for what in broker.asked]
    assert steps[2:4] == ["start", "offsets"]
    assert steps.index("changelog") > steps.index("offsets")
    assert ("changelog", *state) in broker.asked
    assert [fixture.logics[source].restored for source in ORDERS[:2]] == [[], ["a", "b"]]


async def test_a_suspended_partition_is_paused_and_not_taken_over(broker: Broker) -> None:
    fixture = Fixture()
    for _ in range(3):
        fixture.worker._retries.failed(ORDERS[0])
    await fixture.attempt()
    assert fixture.consumer.left_out == {ORDERS[0]}
    assert ("offsets", "group", ORDERS[1]) in broker.asked
    assert ("process", False) in broker.asked  # until it is resumed
    fixture.worker._retries.committed([ORDERS[0]])
    broker.asked = []
    await fixture.attempt()
    assert fixture.consumer.left_out == set()
    assert ("offsets", "group", *ORDERS[:2]) in broker.asked
    assert ("process", True) in broker.asked


async def test_a_partition_whose_suspension_ends_during_the_takeover_is_resumed(broker: Broker) -> None:
    """Regression: its time was compared twice, so it was paused, and nothing ended the attempt."""
    fixture = Fixture()
    retries = fixture.worker._retries = Retries(lambda: broker.now_s)
    for _ in range(2):
        retries.failed(ORDERS[0])  # suspended for 0.4 s
    await fixture.attempt()
    assert fixture.consumer.left_out == {ORDERS[0]}
    assert ("process", False) in broker.asked


async def test_a_foreign_offset_is_rejected_unless_accepted_by_a_setting(broker: Broker) -> None:
    broker.committed, broker.metadata = dict.fromkeys(ORDERS, 5), ""
    with pytest.raises(OffsetMismatchError, match=r"committed offset 5 of orders-0 .* PROCESSOR_ACCEPT_OFFSETS|reset"):
        await Fixture().attempt()
    assert ("process", True) not in broker.asked
    await Fixture(accepted=True).attempt()
    assert ("process", True) in broker.asked


async def test_missing_offsets_are_detected_if_there_is_output(broker: Broker) -> None:
    fixture = Fixture()
    await fixture.attempt()  # a new pipeline
    broker.changelog = {TopicPartition("mine.out", 2): ["a record"]}
    with pytest.raises(OffsetMismatchError, match="no offset of orders is committed, but there are records of its out"):
        await fixture.attempt()
    broker.committed = {ORDERS[2]: 1}  # another replica's: this one's partitions are new
    await fixture.attempt()


async def test_with_all_partitions_suspended_an_attempt_waits_for_the_first_to_resume(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica may have only one partition."""
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.05)
    fixture = Fixture()
    for source in [*ORDERS[:2], *ORDERS[:2]]:
        fixture.worker._retries.failed(source)
    await fixture.attempt()
    assert broker.asked == [("open", "mine.out"), ("end former", 7), ("close",)]
    assert len(fixture.worker._retries.left_out()) < 2


async def test_a_setting_that_the_result_depends_on_must_not_change(broker: Broker) -> None:
    broker.committed = dict.fromkeys(ORDERS, 5)
    broker.metadata = encode_metadata({"TOPIC_PARTITIONS": 6})
    with pytest.raises(
        SettingChangedError, match="TOPIC_PARTITIONS=3, but orders-0 was processed with TOPIC_PARTITIONS=6"
    ):
        await Fixture(accepted=True).attempt()


async def test_a_changed_setting_is_detected_from_offsets_of_other_replicas(broker: Broker) -> None:
    broker.committed, broker.metadata = {ORDERS[2]: 5}, encode_metadata({"TOPIC_PARTITIONS": 1})
    with pytest.raises(SettingChangedError, match="orders-2 was processed with TOPIC_PARTITIONS=1"):
        await Fixture().attempt()


@pytest.mark.parametrize("committed", [{}, {ORDERS[1]: 4}, {ORDERS[1]: 6}])
async def test_state_that_does_not_match_the_offset_is_rejected(
    committed: dict[TopicPartition, int], broker: Broker
) -> None:
    """Earlier, later, or missing state; an offset that a tool has reset to the right value is accepted."""
    fixture = Fixture(changelog="state")
    fixture.logics[ORDERS[1]].state_offset = 5
    broker.committed, broker.metadata = committed, ""
    with pytest.raises(OffsetMismatchError, match=f"is {committed.get(ORDERS[1], 'none')}, .* belongs to offset 5"):
        await fixture.attempt()
    broker.committed = {ORDERS[1]: 5}
    await fixture.attempt()


class OvertakenBroker(Broker):
    """The replica is paused before it reads the changelog, and another one commits meanwhile."""

    async def _note(self, *what: Any) -> None:
        if what[0] == "changelog":
            self.committed = {ORDERS[1]: 9}
        await super()._note(*what)


async def test_newer_state_of_a_successor_is_reported_as_fencing(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, fixture = OvertakenBroker(monkeypatch), Fixture(changelog="state")
    fixture.logics[ORDERS[1]].state_offset = 9
    broker.committed = {ORDERS[1]: 5}
    with pytest.raises(TransactionFencedError, match="another replica"):
        await fixture.attempt()


async def test_a_timeout_when_reading_offsets_ends_the_attempt(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt requests them over a new connection."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(take_over, "stable_offsets", never)
    monkeypatch.setattr(take_over, "_OFFSETS_WITHIN_S", 0.01)
    with pytest.raises(TimeoutError):
        await Fixture().attempt()
    assert ("abort", id_of(0)) in broker.asked
    assert is_outage(TimeoutError())
