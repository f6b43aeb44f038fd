"""One attempt of the engine, with fakes for all of its collaborators."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from aiokafka.structs import TopicPartition

from libs.runtime.exactly_once.processing import AssignedPartition, Processing
from libs.runtime.exactly_once.transaction_size import TransactionSize
from libs.runtime.kafka_client.stage_consumer import StageConsumer
from libs.runtime.service.health import Health
from tests.unit.exactly_once.fakes import (
    ORDERS,
    FakeConsumer,
    FakeLogic,
    FakeProducer,
    make_commits,
    make_stage,
    make_watch,
)


class Attempt:
    """A running processing loop for the first partitions, each with its own logic."""

    def __init__(
        self,
        consumer: FakeConsumer,
        logics: Sequence[FakeLogic],
        *,
        interval_ms: int = 60_000,
        commits_complete: bool = True,
        isolated_until_s: float = 0.0,
        reads_ends: bool = True,
        size: TransactionSize | None = None,
    ) -> None:
        self.consumer = consumer
        self.logics = logics
        self.producer = FakeProducer(completes=commits_complete)
        self.commits = make_commits(self.producer, interval_ms, size=size)
        self.partitions = [AssignedPartition(ORDERS[n], cast(Any, logic), 0) for n, logic in enumerate(logics)]
        self.health = Health()
        self.stop = asyncio.Event()
        self.stage = make_stage()
        self.processing = Processing(
            self.stage,
            cast(StageConsumer, consumer),
            self.partitions,
            self.commits,
            make_watch(reads_ends=reads_ends),
            self.health,
            self.stop,
            isolated_until_s=isolated_until_s,
        )
        self.task = asyncio.create_task(self.processing.run())

    async def end(self) -> None:
        self.stop.set()
        async with asyncio.timeout(30):
            await self.task

    async def processed(self, number: int, count: int) -> list[int]:
        """The offsets of the next records that partition ``number`` has processed."""
        async with asyncio.timeout(30):
            return [await self.logics[number].processed.get() for _ in range(count)]

    async def committed(self) -> Mapping[TopicPartition, int]:
        """Wait for the next commit to begin; returns its offsets."""
        async with asyncio.timeout(30):
            return await self.producer.begun.get()
