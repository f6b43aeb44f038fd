"""The start of an attempt: transactions that it ends, its transactional id, and its start offsets."""

import asyncio
import time
from typing import Any, cast

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.backoff import Backoff
from libs.runtime.errors import (
    NotAMemberError,
    OffsetMismatchError,
    OutdatedAnswerError,
    SettingChangedError,
    TransactionFencedError,
)
from libs.runtime.exactly_once import answer_confirmation, left_open, take_over, worker
from libs.runtime.exactly_once.committed_offsets import STARTING_OVER, encode_metadata
from libs.runtime.exactly_once.retries import Retries
from libs.runtime.kafka_client.outages import is_outage
from libs.runtime.service.settings import ServiceSettings
from tests.unit.exactly_once.fakes import MEMBER, ORDERS
from tests.unit.exactly_once.recorded_attempt import Broker, WorkerWithFakes, id_of


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(monkeypatch)


async def test_an_attempt_ends_former_transactions_then_reads_offsets_then_processes(
    broker: Broker,
) -> None:
    broker.committed = dict.fromkeys(ORDERS, 5)
    await WorkerWithFakes().attempt()
    assert broker.asked == [
        ("open", "mine.out"),
        ("end former", 7),
        ("start", id_of(0)),
        ("coordinator",),
        ("offsets", "group", *ORDERS[:2]),
        ("process", True),
        ("abort", id_of(0)),
        ("close",),
    ]


@pytest.mark.parametrize("step", ["start", "coordinator", "offsets", "process"])
async def test_the_next_attempt_has_a_new_id_and_ends_the_failed_transaction(step: str, broker: Broker) -> None:
    fixture, broker.fails_at = WorkerWithFakes(), step
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
    fixture = WorkerWithFakes()
    await fixture.attempt()
    broker.asked, broker.fails_at = [], "end"
    for _ in range(2):
        with pytest.raises(RuntimeError, match="refused"):
            await fixture.attempt()
    broker.asked, broker.fails_at = [], None
    await fixture.attempt()
    assert broker.asked[1:3] == [("end", id_of(0)), ("start", id_of(1))]


async def test_an_incomplete_look_at_former_transactions_is_repeated(broker: Broker) -> None:
    """A commit marker that is missing has no timeout."""
    fixture, broker.lists_everything = WorkerWithFakes(), False
    fixture.worker._monotonic_s = lambda: 1000.0
    for until_s in (1060.0, 1120.0, 1240.0):  # the broker may be unreachable for good
        await fixture.attempt()
        assert broker.processed_until_s == until_s
    broker.asked, broker.lists_everything = [], True
    await fixture.attempt()
    assert broker.processed_until_s == float("inf")
    assert broker.asked[1:4] == [("end former", 7), ("end", id_of(2)), ("start", id_of(3))]
    broker.asked = []
    await fixture.attempt()
    assert broker.asked[1:3] == [("end", id_of(3)), ("start", id_of(4))]


async def test_the_broker_that_accepts_an_offset_is_noted_even_if_the_attempt_fails(broker: Broker) -> None:
    """It may have been that of a commit, from which on another broker's offsets are old."""
    broker.accepts, broker.fails_at = 5, "process"
    with pytest.raises(RuntimeError, match="refused"):
        await WorkerWithFakes().attempt()
    assert broker.accepted == [5]


async def test_a_worker_of_an_older_generation_sends_no_requests(broker: Broker) -> None:
    with pytest.raises(NotAMemberError):
        await WorkerWithFakes(member=MEMBER._replace(generation=6)).attempt()
    assert not broker.asked


async def test_each_partition_is_read_from_its_committed_offset(broker: Broker) -> None:
    fixture = WorkerWithFakes()
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
    fixture = WorkerWithFakes(changelog="state")
    state = [TopicPartition("mine.state", number) for number in range(2)]
    broker.changelog = {state[1]: ["a", "b"]}
    broker.committed = {ORDERS[1]: 5}
    await fixture.attempt()
    steps = [what[0] for what in broker.asked]
    assert steps[2:5] == ["start", "coordinator", "offsets"]
    assert steps.index("changelog") > steps.index("offsets")
    assert ("changelog", *state) in broker.asked
    assert [fixture.logics[source].restored for source in ORDERS[:2]] == [[], ["a", "b"]]


async def test_a_suspended_partition_is_paused_and_not_taken_over(broker: Broker) -> None:
    fixture = WorkerWithFakes()
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
    fixture = WorkerWithFakes()
    retries = fixture.worker._retries = Retries(lambda: broker.now_s)
    for _ in range(2):
        retries.failed(ORDERS[0])  # suspended for 0.4 s
    await fixture.attempt()
    assert fixture.consumer.left_out == {ORDERS[0]}
    assert ("process", False) in broker.asked


async def test_a_foreign_offset_is_rejected_unless_accepted_by_a_setting(broker: Broker) -> None:
    broker.committed, broker.metadata = dict.fromkeys(ORDERS, 5), ""
    with pytest.raises(OffsetMismatchError, match=r"committed offset 5 of orders-0 .* PROCESSOR_ACCEPT_OFFSETS|reset"):
        await WorkerWithFakes().attempt()
    assert ("process", True) not in broker.asked
    await WorkerWithFakes(accepted=True).attempt()
    assert ("process", True) in broker.asked


async def test_no_setting_accepts_an_offset_of_an_interrupted_recomputation(broker: Broker) -> None:
    """The outputs may be gone, and the offset may be one that belongs to them."""
    broker.committed, broker.metadata = {ORDERS[2]: 0}, STARTING_OVER
    with pytest.raises(OffsetMismatchError) as refused:
        await WorkerWithFakes(accepted=True).attempt()
    assert "pipeline recompute" in refused.value.advice


async def test_missing_offsets_are_detected_if_there_is_output(broker: Broker) -> None:
    fixture = WorkerWithFakes()
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
    fixture, now_s = WorkerWithFakes(), [time.monotonic()]
    retries = fixture.worker._retries = Retries(lambda: now_s[0])  # a busy machine must not end their time earlier
    for source in [*ORDERS[:2], *ORDERS[:2]]:
        retries.failed(source)
    await fixture.attempt()
    assert broker.asked == [("open", "mine.out"), ("end former", 7), ("close",)]
    now_s[0] = time.monotonic()
    assert len(retries.suspended()) < 2


async def test_a_setting_that_the_result_depends_on_must_not_change(broker: Broker) -> None:
    broker.committed = dict.fromkeys(ORDERS, 5)
    broker.metadata = encode_metadata({"TOPIC_PARTITIONS": 6})
    with pytest.raises(
        SettingChangedError, match="TOPIC_PARTITIONS=3, but orders-0 was processed with TOPIC_PARTITIONS=6"
    ):
        await WorkerWithFakes(accepted=True).attempt()


async def test_a_changed_setting_is_detected_from_offsets_of_other_replicas(broker: Broker) -> None:
    broker.committed, broker.metadata = {ORDERS[2]: 5}, encode_metadata({"TOPIC_PARTITIONS": 1})
    with pytest.raises(SettingChangedError, match="orders-2 was processed with TOPIC_PARTITIONS=1"):
        await WorkerWithFakes().attempt()


@pytest.mark.parametrize("committed", [{}, {ORDERS[1]: 4}, {ORDERS[1]: 6}])
async def test_state_that_does_not_match_the_offset_is_rejected(
    committed: dict[TopicPartition, int], broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier, later, or missing state; an offset that a tool has reset to the right value is accepted."""
    monkeypatch.setattr(answer_confirmation, "ANSWER_CONFIRMED_AFTER_S", 0.0)
    fixture = WorkerWithFakes(changelog="state")
    fixture.logics[ORDERS[1]].state_offset = 5
    broker.committed, broker.metadata = committed, ""
    with pytest.raises(
        OffsetMismatchError, match=f"is {committed.get(ORDERS[1], 'none')}, .* belongs to offset 5"
    ) as refused:
        await fixture.attempt()
    assert f"--bootstrap-server {ServiceSettings().kafka_bootstrap_servers} --group " in refused.value.advice
    assert "--topic orders:1 --reset-offsets --to-offset 5 --execute" in refused.value.advice
    broker.committed = {ORDERS[1]: 5}
    await fixture.attempt()


@pytest.mark.parametrize("state_offset", [5, 7])
async def test_state_of_another_offset_is_read_again_before_it_is_rejected(state_offset: int, broker: Broker) -> None:
    """A new leader may not know yet how far the changelog is replicated; a former coordinator may have old offsets."""
    fixture = WorkerWithFakes(changelog="state")
    fixture.logics[ORDERS[1]].state_offset = state_offset
    broker.committed = {ORDERS[1]: 6}
    with pytest.raises(OutdatedAnswerError, match=f"belongs to offset {state_offset}") as found:
        await fixture.attempt()
    assert is_outage(found.value)
    fixture.logics[ORDERS[1]].state_offset = 6
    await fixture.attempt()
    assert ("process", True) in broker.asked


async def test_state_ahead_of_the_only_brokers_offset_is_rejected_at_once(broker: Broker) -> None:
    fixture = WorkerWithFakes(changelog="state")
    fixture.consumer._client.cluster.brokers = lambda: [1]
    fixture.logics[ORDERS[1]].state_offset = 7
    broker.committed = {ORDERS[1]: 6}
    with pytest.raises(OffsetMismatchError, match="belongs to offset 7"):
        await fixture.attempt()


async def test_a_partition_is_read_from_its_beginning_only_if_its_end_stays_behind(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture = WorkerWithFakes()
    broker.committed = {ORDERS[0]: 100, ORDERS[1]: 100}
    fixture.consumer.ends = {ORDERS[0]: 40, ORDERS[1]: 40}
    starts = fixture.worker._start_offsets
    starts[ORDERS[1]].out_of_range(100, 3)  # the consumer has not fetched of the other one yet
    with pytest.raises(OutdatedAnswerError, match="ends at 40"):
        await fixture.attempt()
    assert starts[ORDERS[0]].is_unconfirmed
    assert fixture.consumer.metadata_updates == 1
    monkeypatch.setattr(answer_confirmation, "ANSWER_CONFIRMED_AFTER_S", 0.0)
    await fixture.attempt()
    assert fixture.consumer.positions == dict.fromkeys(ORDERS[:2], 0)
    starts[ORDERS[1]].out_of_range(0, 3)  # nothing was committed yet
    await fixture.attempt()
    assert fixture.consumer.positions == dict.fromkeys(ORDERS[:2], 0)
    fixture.worker._committed({ORDERS[0]: 100}, [])  # as many records were read again
    await fixture.attempt()
    assert fixture.consumer.positions == {ORDERS[0]: 100, ORDERS[1]: 0}


async def test_an_attempt_that_is_cancelled_while_it_aborts_closes_its_connection(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    aborting = asyncio.Event()

    async def abort(*_: object) -> None:
        aborting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(broker, "_abort", abort)
    attempt = asyncio.create_task(WorkerWithFakes().attempt())
    await aborting.wait()
    attempt.cancel()
    await asyncio.wait({attempt})
    assert broker.asked[-1] == ("close",)


async def test_an_attempt_does_not_wait_for_ever_for_brokers_that_have_moved(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one asks the bootstrap servers."""
    fixture = WorkerWithFakes()
    await fixture.attempt()

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(left_open, "end_transaction", never)
    monkeypatch.setattr(left_open, "COMMIT_TIMEOUT_S", 0.01)
    broker.asked = []
    with pytest.raises(TimeoutError):
        await fixture.attempt()
    assert broker.asked == [("open", "mine.out"), ("close",)]


class OvertakenBroker(Broker):
    """The replica is paused before it reads the changelog, and another one commits meanwhile."""

    async def _note(self, *what: Any) -> None:
        if what[0] == "changelog":
            self.committed = {ORDERS[1]: 9}
        await super()._note(*what)


async def test_newer_state_of_a_successor_is_reported_as_fencing(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, fixture = OvertakenBroker(monkeypatch), WorkerWithFakes(changelog="state")
    fixture.logics[ORDERS[1]].state_offset = 9
    broker.committed = {ORDERS[1]: 5}
    with pytest.raises(TransactionFencedError, match="another replica"):
        await fixture.attempt()
    # The offsets may have been those of a broker that is no longer the coordinator.
    assert broker.asked[-4:-2] == [("forget coordinators",), ("offsets", "group", *ORDERS[:2])]


async def test_a_timeout_when_reading_offsets_ends_the_attempt(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt requests them over a new connection."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(take_over, "stable_offsets", never)
    monkeypatch.setattr(take_over, "_OFFSETS_WITHIN_S", 0.01)
    with pytest.raises(TimeoutError):
        await WorkerWithFakes().attempt()
    assert ("abort", id_of(0)) in broker.asked
    assert is_outage(TimeoutError())


@pytest.mark.parametrize("step", ["open", "start", "coordinator", "offsets", "changelog"])
async def test_a_stop_does_not_wait_for_a_take_over(step: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebalance waits for every replica to stop."""
    monkeypatch.setattr(worker, "CLOSE_TIMEOUT_S", 1e6)
    fixture = WorkerWithFakes(changelog="state")
    fixture.worker._left_open.add("left open")
    broker.holds_at = step
    fixture.worker.start(lambda _: None)
    async with asyncio.timeout(30):
        await broker.held.wait()
        await fixture.worker.stop()
    after = broker.asked[[what[0] for what in broker.asked].index(step) + 1 :]
    assert after[-1:] == ([] if step == "open" else [("close",)])
    assert {what[0] for what in after} <= {"abort", "close"}


@pytest.mark.parametrize("step", ["end former", "end"])
async def test_a_stop_waits_while_former_transactions_are_ended(
    step: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between InitProducerId and the marker that is missing, nobody else could find out that it is."""
    monkeypatch.setattr(worker, "CLOSE_TIMEOUT_S", 1e6)
    fixture = WorkerWithFakes()
    fixture.worker._left_open.add("left open")
    broker.holds_at = step
    fixture.worker.start(lambda _: None)
    async with asyncio.timeout(30):
        await broker.held.wait()
        stopping = asyncio.create_task(fixture.worker.stop())
        for _ in range(10):  # more than a cancellation would take
            await asyncio.sleep(0)
        assert not stopping.done()
        assert broker.asked[-1][0] == step
        broker.goes_on.set()
        await stopping
    assert broker.asked[-1] == ("close",)
