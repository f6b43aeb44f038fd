"""Runs attempts of a real worker with fake requests, which are recorded in order."""

import asyncio
from collections.abc import AsyncIterator, Collection
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once import left_open, take_over
from libs.runtime.exactly_once import worker as worker_module
from libs.runtime.exactly_once.committed_offsets import CommittedOffset, encode_metadata
from libs.runtime.exactly_once.processing import Processing
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.exactly_once.worker import ReplicaWorker
from libs.runtime.kafka_client.group_member import GroupMember
from libs.runtime.service.health import Health
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.transactions.transactional_ids import StageTransactionalIds
from tests.unit.exactly_once.fakes import MEMBER, ORDERS, FakeConsumer, FakeLogic, make_stage, make_watch

PREFIX, COORDINATOR = "mine.", 2
OURS = encode_metadata({"TOPIC_PARTITIONS": len(ORDERS)})


class Broker:
    """Records the requests of an attempt in order, fails at ``fails_at``, and does not answer at ``holds_at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.now_s = 0.0
        self.fails_at: Any = None
        self.holds_at: Any = None
        self.held = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.committed: dict[TopicPartition, int] = {}
        self.changelog: dict[TopicPartition, list[str]] = {}
        self.metadata = OURS
        self.lists_everything = True
        self.processed_until_s: float | None = None
        self.accepts: int | None = None
        self.accepted: list[int | None] = []
        monkeypatch.setattr(worker_module, "BrokerConnection", SimpleNamespace(open=self._open))
        monkeypatch.setattr(left_open, "end_former_transactions", self._end_former)
        monkeypatch.setattr(left_open, "end_transaction", self._end)
        monkeypatch.setattr(worker_module, "TransactionalProducer", self._producer)
        monkeypatch.setattr(worker_module, "GroupCoordinator", self._group_coordinator)
        monkeypatch.setattr(take_over, "stable_offsets", self._stable_offsets)
        monkeypatch.setattr(take_over, "read_committed_records", self._read_changelog)
        monkeypatch.setattr(Processing, "run", self._process)

    async def _note(self, *what: Any) -> None:
        self.asked.append(what)
        self.now_s += 0.125
        await asyncio.sleep(0)
        if what[0] == self.fails_at:
            raise RuntimeError("refused")
        if what[0] == self.holds_at:
            self.held.set()
            await self.goes_on.wait()

    async def _open(self, _: object, topics: list[str]) -> Any:
        await self._note("open", *topics)
        return SimpleNamespace(close=lambda: self._note("close"), forget_coordinators=self._forget_coordinators)

    def _forget_coordinators(self) -> None:
        self.asked.append(("forget coordinators",))

    async def _end_former(self, _: object, ids: object, generation: int, *__: object) -> bool:
        await self._note("end former", generation)
        return self.lists_everything

    async def _end(self, _: object, transactional_id: str, *__: object) -> None:
        await self._note("end", transactional_id)

    def _producer(self, _: object, transactional_id: str, topic_prefix: str, offset_metadata: str) -> Any:
        assert (topic_prefix, offset_metadata) == (PREFIX, OURS)
        return SimpleNamespace(
            transactional_id=transactional_id,
            start=lambda: self._note("start", transactional_id),
            abort=lambda: self._abort(transactional_id),
            offsets_accepted_by=self.accepts,
        )

    def _group_coordinator(self, *_: object) -> Any:
        return SimpleNamespace(find=self._find_coordinator, accepted=self.accepted.append)

    async def _find_coordinator(self, _: object, __: object) -> int:
        await self._note("coordinator")
        return COORDINATOR

    async def _abort(self, transactional_id: str) -> None:
        await self._note("abort", transactional_id)

    async def _stable_offsets(
        self, _: object, group: str, sources: Collection[TopicPartition], coordinator: int | None = None
    ) -> dict[TopicPartition, CommittedOffset | None]:
        assert coordinator in (COORDINATOR, None)
        await self._note("offsets", group, *sources)
        return {
            source: CommittedOffset(self.committed[source], self.metadata) if source in self.committed else None
            for source in sources
        }

    async def _read_changelog(
        self, _: object, changelogs: Collection[TopicPartition], __: object = None
    ) -> AsyncIterator[tuple[TopicPartition, list[str]]]:
        await self._note("changelog", *changelogs)
        for changelog in changelogs:
            if found := self.changelog.get(changelog):
                yield changelog, found

    async def _process(self, until_s: float) -> None:
        self.processed_until_s = until_s
        await self._note("process", until_s == float("inf"))


class WorkerWithFakes:
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
            TransactionSize(),
        )

    async def attempt(self) -> None:
        await self.worker._attempt()


def id_of(attempt: int) -> str:
    return f"mine.processor-7-member-{attempt}"
