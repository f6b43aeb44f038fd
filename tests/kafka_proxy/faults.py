"""Decides what happens to each request, without I/O."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from tests.kafka_proxy.transactions import Transaction, Transactions
from tests.kafka_proxy.wire_format import Api, Request

NO_ANSWER = -1


class Treatment(Enum):
    """What can happen to a request."""

    LATE = "late"
    """The client's connection is closed, and the request reaches the broker later."""
    ANSWER_LOST = "answer lost"
    """The broker gets the request at once; its response is dropped, and the client's connection closed."""
    TWICE = "twice"
    """The broker gets it and responds, then gets the same bytes again; the client gets the second response."""
    ANSWER_LOST_AND_LATE_COPY = "answer lost and a copy late"
    """Like ANSWER_LOST, and later the broker gets the same bytes again."""
    LATE_COPY = "a copy late"
    """The client notices nothing; later the broker gets the same bytes again.

    With TCP this happens only if a device in between repeats a request. No client before transactions
    version 2 (KIP-890) can do anything about it.
    """

    @property
    def delivers_later(self) -> bool:
        return self not in (Treatment.ANSWER_LOST, Treatment.TWICE)


@dataclass(frozen=True, eq=False)
class RequestFault:
    """A fault for ``count`` requests of one kind; two equal faults are counted separately.

    Args:
        api: the kind of request.
        treatment: what happens to it.
        count: the number of requests; aimed ones that missed their target do not count.
        before: a late request is delivered just before the next request of this kind that belongs to a later transaction of
            the same producer, or to a transaction for the same partitions; None: after a random time.
        within_s: the bounds of the random time; the upper one also limits how long an aimed request waits for its target.
        share: the share of the eligible requests that is chosen.
    """

    api: Api
    treatment: Treatment
    count: int
    before: Api | None = None
    within_s: tuple[float, float] = (0.0, 20.0)
    share: float = 0.2

    @property
    def name(self) -> str:
        aim = f" before {self.before.name}" if self.before is not None else ""
        return f"{self.api.name} {self.treatment.value}{aim}"


@dataclass(eq=False)
class HeldRequest:
    """A request that is to be delivered later."""

    request: Request
    frame: bytes
    transaction: Transaction
    fault: RequestFault
    due_s: float


@dataclass(frozen=True)
class Decision:
    """What to do with a request.

    First ``deliver_first`` is sent to the broker, one request after the other, each after the response to the previous one.
    Then the request itself is sent, if ``forward``; otherwise the client's connection is closed. With ``lose_answer`` the
    connection is closed when the response comes, which is dropped and reported to ``RequestFaults.answer_lost``.
    """

    deliver_first: Sequence[HeldRequest] = ()
    forward: bool = True
    lose_answer: RequestFault | None = None


PASS = Decision()


class RequestFaults:
    """Chooses requests, keeps those to be delivered later, and counts.

    All times are in seconds, of the same clock.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._transactions = Transactions()
        self._faults: list[RequestFault] = []
        self._held: list[HeldRequest] = []
        self._underway: Counter[RequestFault] = Counter()
        self.injected: Counter[RequestFault] = Counter()
        """The number of requests that each fault has hit; an aimed one counts if it was delivered just before its target."""
        self.missed: Counter[RequestFault] = Counter()
        """The number of requests that were delivered without their target, or got no response."""
        self.answers: Counter[tuple[RequestFault, int]] = Counter()
        """The broker's error codes for late requests, or NO_ANSWER."""

    def add(self, fault: RequestFault) -> None:
        """Start a fault; it ends by itself."""
        self._faults.append(fault)

    def remove(self, fault: RequestFault) -> None:
        """Choose no more requests for this fault; those it holds are still delivered."""
        self._faults.remove(fault)

    def done(self, fault: RequestFault) -> bool:
        """Whether the fault has hit its number of requests."""
        return self.injected[fault] >= fault.count

    def on_request(self, request: Request, frame: bytes, now_s: float) -> Decision:
        """Decide what happens to a client's request."""
        transaction = self._transactions.of(request)
        due = [held for held in self._held if self._is_moment(held, request, transaction)]
        self._held = [held for held in self._held if held not in due]
        fault = next((fault for fault in self._faults if self._chooses(fault, request, transaction)), None)
        if fault is None:
            return Decision(due) if due else PASS
        low_s, high_s = fault.within_s
        wait_s = self._random.uniform(low_s, high_s) if fault.before is None else high_s
        held = HeldRequest(request, frame, transaction, fault, now_s + wait_s)
        if fault.treatment is Treatment.TWICE:
            self._underway[fault] += 1
            return Decision([*due, held])
        if fault.treatment.delivers_later:
            self._underway[fault] += 1
            self._held.append(held)
        loses_answer = fault.treatment in (Treatment.ANSWER_LOST, Treatment.ANSWER_LOST_AND_LATE_COPY)
        return Decision(due, forward=fault.treatment is not Treatment.LATE, lose_answer=fault if loses_answer else None)

    def overdue(self, now_s: float) -> list[HeldRequest]:
        """Take the requests that are due by time, because they were not aimed or their target has not come."""
        due = [held for held in self._held if held.due_s <= now_s]
        self._held = [held for held in self._held if held.due_s > now_s]
        return due

    def delivered(self, held: HeldRequest, codes: set[int], *, in_time: bool) -> None:
        """Note that a held request was delivered, ``in_time`` for its target, with the error codes of the response."""
        hit = NO_ANSWER not in codes and (in_time or held.fault.before is None)
        (self.injected if hit else self.missed)[held.fault] += 1
        self._underway[held.fault] -= 1
        for code in codes:
            self.answers[held.fault, code] += 1

    def answer_lost(self, fault: RequestFault) -> None:
        """Note that a response was dropped."""
        if not fault.treatment.delivers_later:
            self.injected[fault] += 1

    def _is_moment(self, held: HeldRequest, request: Request, transaction: Transaction) -> bool:
        return held.fault.before is request.api and transaction.may_follow(held.transaction)

    def _chooses(self, fault: RequestFault, request: Request, transaction: Transaction) -> bool:
        if request.api is not fault.api or not request.commits or self._random.random() >= fault.share:
            return False
        if fault.before is not None and not transaction.sources:
            return False  # it is unknown which later transaction is for the same partitions
        if any(held.fault is fault and held.request.producer == request.producer for held in self._held):
            return False
        return self.injected[fault] + self._underway[fault] < fault.count
