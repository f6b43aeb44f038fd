"""Commit markers that a broker has left out: replicas have to write them, and each one that the suite has to write is a problem."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from doctor.complete_transactions import Outcome as Hung
from doctor.complete_transactions import commit_hanging_transactions
from libs.events.topics import ALL_TOPICS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.transactions.missing_markers import OFFSETS_TOPIC
from verification.topic_reader import TopicReader

Say = Callable[[str], None]


async def end_hanging_transactions(bootstrap: str, prefix: str, say: Say) -> list[str]:
    """Give the replicas time to write missing markers, write the others, and return a line for each of those."""
    kafka = KafkaAddress(bootstrap)
    return await problems_with_markers(
        lambda: _settled(kafka, prefix, say), lambda: commit_hanging_transactions(kafka, prefix), say
    )


async def problems_with_markers(
    settled: Callable[[], Awaitable[None]], complete: Callable[[], Awaitable[Sequence[Hung]]], say: Say
) -> list[str]:
    """A line for each marker that ``complete`` had to write after ``settled`` had returned.

    Only missing commit markers are promised to be written (docs/guarantees.md, *Assumed*), by every stage whose rights allow it. All
    stacks of this suite do, with ZooKeeper and with KRaft. Another transaction that hangs is left to an operator.
    """
    await settled()
    problems = []
    for hung in await complete():
        where = f"{hung.found.transactional_id} in partition {hung.found.partition} of {hung.found.topic}"
        if hung.reason:
            say(f"left to an operator, who has to end {where}: {hung.reason}")
        else:
            problems.append(f"no replica wrote the commit marker of {where}, as is promised without ACLs: written now")
    return problems


async def _settled(kafka: KafkaAddress, prefix: str, say: Say) -> None:
    """Wait until all present transactions have ended, for a minute at most: those of the pipeline take 20 s at most."""

    async def wait_for(topic: str) -> None:
        try:
            await reader.settled_ends(topic)
        except PipelineError as error:
            say(str(error))

    async with TopicReader(kafka) as reader:
        topics = [*(prefix + topic.name for topic in ALL_TOPICS), OFFSETS_TOPIC]
        await asyncio.gather(*map(wait_for, topics))
