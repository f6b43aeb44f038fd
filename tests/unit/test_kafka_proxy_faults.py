"""Which requests the proxy holds back, and when it delivers them."""

from random import Random

import pytest

from tests.kafka_proxy.faults import NO_ANSWER, PASS, Decision, RequestFault, RequestFaults, Treatment
from tests.kafka_proxy.wire_format import Api, Producer, Request

FIRST, SECOND = Producer(1, 0), Producer(2, 0)
ONE, OTHER = frozenset({("orders", 1)}), frozenset({("orders", 2)})


class Wire:
    """Sends requests through the faults, which choose every eligible request."""

    def __init__(self, *faults: RequestFault) -> None:
        self.faults = RequestFaults(Random(1))
        for fault in faults:
            self.faults.add(fault)
        self.now_s = 100.0

    def send(self, api: Api, producer: Producer = FIRST, sources: frozenset[tuple[str, int]] = ONE) -> Decision:
        named = sources if api is Api.TXN_OFFSET_COMMIT else frozenset()
        request = Request(api, 0, 1, "client", f"id-{producer.id}", producer, "group", named)
        decision = self.faults.on_request(request, f"{api.name} {producer.id}".encode(), self.now_s)
        for held in decision.deliver_first:
            self.faults.delivered(held, {0}, in_time=True)
        return decision

    def transaction(self, producer: Producer = FIRST, sources: frozenset[tuple[str, int]] = ONE) -> list[Decision]:
        return [
            self.send(api, producer, sources)
            for api in (Api.ADD_PARTITIONS_TO_TXN, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT, Api.END_TXN)
        ]


def late(api: Api, before: Api | None, count: int = 1, **more: object) -> RequestFault:
    return RequestFault(api, Treatment.LATE, count, before, share=1.0, **more)  # type: ignore[arg-type]


def first_delivered(decisions: list[Decision]) -> list[list[bytes]]:
    return [[held.frame for held in decision.deliver_first] for decision in decisions]


def test_a_late_end_txn_is_delivered_just_before_the_next_offsets() -> None:
    wire = Wire(late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT))
    *others, end = wire.transaction()
    assert others == [PASS] * 3
    assert not end.forward
    assert wire.send(Api.END_TXN) == PASS  # the client retries, which is not the next transaction yet
    assert first_delivered(wire.transaction()) == [[], [], [b"END_TXN 1"], []]
    assert wire.transaction() == [PASS] * 4


def test_late_offsets_are_delivered_just_before_the_end_of_the_next_transaction() -> None:
    wire = Wire(late(Api.TXN_OFFSET_COMMIT, before=Api.END_TXN))
    held = wire.transaction()[2]
    assert not held.forward
    assert wire.send(Api.END_TXN) == PASS
    assert first_delivered(wire.transaction()) == [[], [], [], [b"TXN_OFFSET_COMMIT 1"]]


def test_a_transaction_of_another_producer_for_the_same_partitions_is_a_target() -> None:
    wire = Wire(late(Api.TXN_OFFSET_COMMIT, before=Api.END_TXN))
    wire.send(Api.TXN_OFFSET_COMMIT)
    assert first_delivered(wire.transaction(SECOND, OTHER)) == [[], [], [], []]
    assert first_delivered(wire.transaction(SECOND, ONE | OTHER)) == [[], [], [], [b"TXN_OFFSET_COMMIT 1"]]


def test_a_producer_with_unknown_partitions_is_a_target() -> None:
    wire = Wire(late(Api.END_TXN, before=Api.ADD_PARTITIONS_TO_TXN))
    wire.transaction()
    assert first_delivered(wire.transaction(SECOND)) == [[b"END_TXN 1"], [], [], []]


def test_a_transaction_that_began_earlier_is_not_a_target() -> None:
    wire = Wire(late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT))
    wire.send(Api.TXN_OFFSET_COMMIT)
    wire.send(Api.ADD_PARTITIONS_TO_TXN, SECOND)
    assert not wire.send(Api.END_TXN).forward
    wire.faults.remove(next(iter(wire.faults._faults)))
    assert first_delivered([wire.send(Api.TXN_OFFSET_COMMIT, SECOND), wire.send(Api.END_TXN, SECOND)]) == [
        [b"END_TXN 1"],
        [],
    ]


def test_without_a_target_a_request_is_delivered_at_its_time_limit() -> None:
    fault = late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT, within_s=(0.0, 4.0))
    wire = Wire(fault)
    wire.transaction()
    assert wire.faults.overdue(103.9) == []
    (held,) = wire.faults.overdue(104.0)
    assert held.frame == b"END_TXN 1"
    wire.faults.delivered(held, {48}, in_time=False)
    assert (wire.faults.injected[fault], wire.faults.missed[fault]) == (0, 1)
    assert not wire.faults.done(fault)
    assert wire.faults.overdue(200.0) == []


def test_no_more_requests_are_held_than_needed() -> None:
    fault = late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT, count=2)
    wire = Wire(fault)
    work = [(Producer(each, 0), frozenset({("orders", each)})) for each in (1, 2, 3)]
    assert [wire.transaction(*each)[3].forward for each in work] == [False, False, True]
    assert not wire.faults.done(fault)
    for each in work:
        wire.transaction(*each)
    assert wire.faults.done(fault)
    assert wire.faults.answers == {(fault, 0): 2}
    assert wire.transaction() == [PASS] * 4


def test_a_request_without_a_response_is_not_a_hit() -> None:
    fault = late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT, within_s=(0.0, 4.0))
    wire = Wire(fault)
    wire.transaction()
    (held,) = wire.faults.overdue(104.0)
    wire.faults.delivered(held, {NO_ANSWER}, in_time=True)
    assert (wire.faults.injected[fault], wire.faults.missed[fault]) == (0, 1)
    assert not wire.transaction()[3].forward  # another one is chosen


def test_an_aborting_end_txn_is_not_chosen() -> None:
    wire = Wire(late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT))
    wire.send(Api.TXN_OFFSET_COMMIT)
    request = Request(Api.END_TXN, 0, 1, "client", "id-1", FIRST, commits=False)
    assert wire.faults.on_request(request, b"", 100.0) == PASS


def test_requests_without_a_target_are_delivered_at_a_random_time() -> None:
    fault = late(Api.PRODUCE, before=None, within_s=(1.0, 2.0))
    wire = Wire(fault)
    assert not wire.send(Api.PRODUCE).forward
    assert wire.transaction() == [PASS] * 4
    assert wire.faults.overdue(101.0) == []
    (held,) = wire.faults.overdue(102.0)
    wire.faults.delivered(held, {0}, in_time=False)
    assert wire.faults.done(fault)


@pytest.mark.parametrize(
    ("treatment", "loses_answer", "copies"),
    [
        (Treatment.ANSWER_LOST, True, 0),
        (Treatment.ANSWER_LOST_AND_LATE_COPY, True, 1),
        (Treatment.LATE_COPY, False, 1),
    ],
)
def test_requests_that_are_not_delayed_are_forwarded_at_once(
    treatment: Treatment, loses_answer: bool, copies: int
) -> None:
    fault = RequestFault(Api.END_TXN, treatment, 1, Api.TXN_OFFSET_COMMIT if copies else None, share=1.0)
    wire = Wire(fault)
    end = wire.transaction()[3]
    assert end.forward
    assert end.lose_answer == (fault if loses_answer else None)
    if loses_answer:
        wire.faults.answer_lost(fault)
    assert wire.faults.done(fault) == (copies == 0)
    wire.send(Api.END_TXN)
    assert first_delivered(wire.transaction()) == [[], [], [b"END_TXN 1"] * copies, []]


def test_a_request_is_delivered_twice_in_a_row() -> None:
    fault = RequestFault(Api.END_TXN, Treatment.TWICE, 1, share=1.0)
    wire = Wire(fault)
    end = wire.transaction()[3]
    assert first_delivered([end]) == [[b"END_TXN 1"]]
    assert (end.forward, end.lose_answer) == (True, None)
    assert wire.faults.done(fault)
    assert wire.transaction() == [PASS] * 4


def test_equal_faults_are_counted_separately() -> None:
    first, second = (late(Api.END_TXN, before=Api.TXN_OFFSET_COMMIT) for _ in range(2))
    wire = Wire(first)
    wire.transaction()
    wire.transaction()
    assert (wire.faults.done(first), wire.faults.done(second)) == (True, False)
