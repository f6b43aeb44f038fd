"""A replica in the model: the real worker, producer and requests, which get their responses one by one.

Its next request depends only on the responses that it has got. So each sequence of responses is run once, however many states
of the cluster lead to it.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from aiokafka.structs import TopicPartition

from libs.runtime.errors import AnswerLostError, NotAMemberError
from libs.runtime.exactly_once.processing import AssignedPartition
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.exactly_once.worker import ReplicaWorker
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.transactions.connection import GROUP
from libs.runtime.transactions.producer import TransactionalProducer
from libs.runtime.transactions.record_batches import OutputBuffer
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.model.cluster import UNKNOWN_MEMBER_ID, Answer, Request, member_of
from tests.unit.exactly_once.fakes import FakeConsumer, FakeLogic, make_stage, make_watch
from tests.unit.transactions.requests import Sent, answer_to, sent

SOURCE = TopicPartition("orders", 0)
LOST = "lost"
"""Instead of a response: the connection was lost."""

FINISHED, FENCED = "finished", "no member any more"

Event = tuple[int, Answer | str]
"""A request's number within a replica's run, and the response."""

Change = Callable[[Request], Request]

current_run: ContextVar["Run"] = ContextVar("current_run")


@dataclass(frozen=True)
class Rules:
    """The deliberate defects of a variant; none by default."""

    orders: int = 2
    change: Change = lambda request: request
    repeat: frozenset[str] = frozenset()  # requests that are sent again if their response is lost


@dataclass
class Node:
    """A replica after a sequence of responses: its pending requests, and its outcome if it has ended."""

    unanswered: tuple[tuple[int, Request], ...]
    abandoned: tuple[Request, ...]  # no longer awaited since the last event, and still in flight
    outcome: str | None
    parent: "Node | None"
    event: Event | None
    run: "Run | None"
    children: dict[Event, "Node"] = field(default_factory=dict)


class Run:
    """One run of a replica."""

    def __init__(self, generation: int, rules: Rules) -> None:
        self.rules = rules
        self.outcome: str | None = None
        self._unanswered: dict[int, tuple[Request, asyncio.Future[Any]]] = {}
        self._abandoned: list[Request] = []
        self._sent = 0
        self._ended = False
        current_run.set(self)
        self._worker = _Worker(generation, rules.orders)
        self._task = asyncio.ensure_future(self._live())

    async def _live(self) -> None:
        await self._worker._run()
        self.outcome = self._worker.outcome

    async def end(self) -> None:
        """End the run: no further responses and requests."""
        self._ended = True
        self._worker._stopping.set()
        for _, answer in self._unanswered.values():
            if not answer.done():
                answer.set_exception(NotAMemberError("the end"))
        await self._task

    async def ask(self, request: Request) -> Any:
        if self._ended:
            raise NotAMemberError("the end")
        number, self._sent = self._sent, self._sent + 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._unanswered[number] = (request, answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self._abandoned.append(request)
            raise
        finally:
            del self._unanswered[number]

    async def advance(self, event: Event | None) -> None:
        """Deliver one response, and wait until the replica waits for the next one."""
        self._abandoned.clear()
        if event is not None:
            number, answer = event
            waiting = self._unanswered[number][1]
            if answer == LOST:
                waiting.set_exception(AnswerLostError("no answer"))
            else:
                waiting.set_result(answer)
        ready: Any = asyncio.get_running_loop()
        await asyncio.sleep(0)
        while ready._ready:  # noqa: ASYNC110 - it waits until no callback is left to run
            await asyncio.sleep(0)

    def node(self, parent: Node | None, event: Event | None) -> Node:
        unanswered = tuple((number, request) for number, (request, _) in self._unanswered.items())
        return Node(unanswered, tuple(self._abandoned), self.outcome, parent, event, self)


async def step(node: Node, event: Event, begin: Callable[[], Run]) -> Node:
    """The replica after one more response."""
    known = node.children.get(event)
    if known is not None:
        return known
    run, node.run = node.run, None
    if run is None:
        run = begin()
        await run.advance(None)
        for earlier in _events(node):
            await run.advance(earlier)
    await run.advance(event)
    made = node.children[event] = run.node(node, event)
    return made


def _events(node: Node) -> list[Event]:
    events = []
    at: Node | None = node
    while at is not None and at.event is not None:
        events.append(at.event)
        at = at.parent
    return events[::-1]


class _Worker(ReplicaWorker):
    """The real worker, except that it commits one order after the other, and does not wait for the group."""

    def __init__(self, generation: int, orders: int) -> None:
        member = GroupMember("group", generation, member_of(generation))
        consumer: Any = FakeConsumer()
        # It learns only from the broker's responses that it is no longer a member.
        vars(consumer._coordinator).update(generation=generation, member_id=member.member_id)
        super().__init__(
            _STAGE,
            _SETTINGS,
            consumer,
            [SOURCE],
            member,
            StageTransactionalIds("", "processor"),
            make_watch(),
            Health(),
            TransactionSize(),
        )
        self._orders = orders
        self.outcome: str | None = None

    async def _process(
        self, producer: TransactionalProducer, partitions: Sequence[AssignedPartition], *, until_s: float
    ) -> None:
        """An order's output is the number of orders before it, by the restored state, so that a wrong state is visible."""
        [partition] = partitions
        state = len(cast(FakeLogic, partition.logic).restored)
        for number in range(partition.position, self._orders):
            outputs = OutputBuffer({"out": 1})
            outputs.send("out", 0, None, b"%d" % state, 0, [])
            await producer.commit(outputs, {SOURCE: number + 1}, self._member)
            state += 1
        self.outcome = FINISHED
        self._stopping.set()

    def _after_refusal(self, error: NotAMemberError) -> float:
        """The coordinator refuses only a generation that has ended, whose rebalance stops the worker."""
        if f"error code {UNKNOWN_MEMBER_ID}" not in str(error):
            self.outcome = FENCED
            self._stopping.set()
        return 0.0


_SETTINGS = ServiceSettings(topic_partitions=1)
_STAGE = make_stage(lambda *_: FakeLogic(), changelog="out")


class ModelConnection:
    """Replaces ``BrokerConnection``."""

    def __init__(self) -> None:
        self._coordinator: int | None = None

    async def coordinator(self, _: int, __: str) -> int:
        """The group's coordinator; there is one transaction coordinator, which is always known."""
        if self._coordinator is None:
            [self._coordinator] = await _ask(Request("FindCoordinator"))
        return self._coordinator

    def forget_coordinators(self) -> None:
        self._coordinator = None

    async def refresh(self) -> None:
        self.forget_coordinators()

    def brokers(self) -> list[int]:
        return [1]

    async def leader(self, _: TopicPartition) -> int:
        return 1

    async def close(self) -> None:
        pass

    async def send(self, _: int, request: Any, __: int = 0) -> Any:
        found = sent(request)
        if found.name == "DescribeTransactions":  # this model's broker leaves out no marker
            return answer_to(found)
        return _answer(found, await _ask(_request(found)))

    async def ask_coordinator(self, kind: int, key: str, request: Any) -> Any:
        if kind != GROUP:
            return await self.send(1, request)
        found, broker = sent(request), await self.coordinator(kind, key)
        return _answer(found, await _ask(_request(found)._replace(broker=broker)))


async def open_connection(*_: object) -> ModelConnection:
    return ModelConnection()


async def read_output(
    _: object, changelogs: Collection[TopicPartition], __: object = None
) -> AsyncIterator[tuple[TopicPartition, list[int]]]:
    """Replaces ``read_committed_records``: the output is also the changelog."""
    [changelog] = changelogs
    yield changelog, list(await _ask(Request("ReadOutput", flag=True)))


async def _ask(request: Request) -> Any:
    run = current_run.get()
    while True:
        try:
            return await run.ask(run.rules.change(request))
        except AnswerLostError:
            if request.name not in run.rules.repeat:
                raise


def _request(request: Sent) -> Request:
    fields = request.fields
    match request.name:
        case "StableOffsetFetch":
            return Request("OffsetFetch", flag=fields["require_stable"])
        case "ListTransactions":
            return Request("ListTransactions")
        case "InitProducerId":
            return Request("InitProducerId", fields["transactional_id"])
        case "Produce":
            [batch] = request.values().values()
            producer_id, epoch, sequence = struct.unpack_from(">qhi", batch, 43)
            # Key and headers are empty: the value is followed only by the number of headers.
            return Request(
                "Produce", fields["transactional_id"], producer_id, epoch, int(batch[-2:-1]), sequence=sequence
            )
    made = partial(Request, request.name, fields["transactional_id"], fields["producer_id"], fields["producer_epoch"])
    if request.name == "MemberOffsetCommit":
        [offset] = request.values().values()
        return made(offset, generation=fields["generation_id"], member=fields["member_id"])._replace(
            name="TxnOffsetCommit"
        )
    return made(flag=fields.get("transaction_result", False))


def _answer(request: Sent, answer: Any) -> Any:
    if request.name == "StableOffsetFetch":
        return (
            answer_to(request, answer) if isinstance(answer, int) else answer_to(request, offsets={SOURCE: answer[0]})
        )
    if request.name == "ListTransactions":
        return answer_to(request, listed=answer)
    if request.name == "InitProducerId":
        return answer_to(request, producer=answer)
    return answer_to(request, answer)
