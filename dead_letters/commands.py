"""Implements the commands: reads from Kafka and returns the data to be shown."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace

from dead_letters.dead_letter import DAMAGED, DeadLetter, Place
from dead_letters.reader import LetterReader, Topics, letter_reader
from dead_letters.rendering import reasons_found
from dead_letters.replay import ReplayProducer, in_transactions
from dead_letters.replay_marks import ReplayMark
from dead_letters.selection import Distinct, Plan, Selection, obstacle
from dead_letters.summaries import ByReason, ListEnd, Newest
from libs.events.dead_letters import Reason
from libs.events.topics import DEAD_LETTERS_REPLAYED
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from libs.runtime.service.settings import ServiceSettings, load_settings
from libs.runtime.topics.creation import ensure_topics
from verification.topic_reader import Offsets

Progress = Callable[[str], None]

_MAKE_TOPIC_S = 30.0


@dataclass(frozen=True)
class Pipeline:
    """The settings of the pipeline's services that the commands need."""

    kafka: KafkaAddress
    topic_prefix: str
    window_seconds: int


async def gather(
    pipeline: Pipeline, selection: Selection, into: ByReason | Newest, progress: Progress, since: Collection[Place] = ()
) -> ListEnd:
    """Add the selected letters to ``into``; in the partitions in ``since``, only those from that offset on."""
    async with letter_reader(pipeline.kafka, pipeline.topic_prefix) as reader:
        replayed = await reader.replayed()
        begins, ends = await reader.begins(), await reader.settled_ends()
        # An offset beyond the end belongs to a topic that has been deleted and recreated.
        begins |= {part: offset for part, offset in since if begins.get(part, offset) < offset <= ends.get(part, -1)}
        seen: set[str] = set()
        async for letters in _selected(reader, selection, ends, progress, seen, begins):
            for letter in letters:
                into.add(letter, replayed=letter in replayed)
    _check_reasons(selection.reasons, seen)
    return ListEnd(reader.topics.cluster_id, ends)


async def find_letter(pipeline: Pipeline, place: Place) -> tuple[DeadLetter, ReplayMark | None, Topics]:
    """One letter, and its replay mark if it was replayed."""
    async with letter_reader(pipeline.kafka, pipeline.topic_prefix) as reader:
        letter = next(iter([each async for letters in reader.letters_at([place]) for each in letters]))
        return letter, (await reader.replayed()).mark_of(letter), reader.topics


async def plan_replay(pipeline: Pipeline, selection: Selection, progress: Progress) -> tuple[Plan, Offsets]:
    """The plan of a replay, and the end offsets of the letters that it takes: letters that it causes are excluded."""
    async with letter_reader(pipeline.kafka, pipeline.topic_prefix) as reader:
        plan = Plan(reader.topics, pipeline.window_seconds, time.time())
        replayed, ends = await reader.replayed(), await reader.settled_ends()
        seen: set[str] = set()
        async for letters in _selected(reader, selection, ends, progress, seen):
            for letter in letters:
                plan.add(letter, replayed=letter in replayed)
    _check_reasons(selection.reasons, seen)
    return plan, ends


async def replay(pipeline: Pipeline, selection: Selection, ends: Offsets, due: int, progress: Progress) -> int:
    """Write the selected letters before ``ends`` back into `orders`; returns their number.

    ``due`` is the number in the plan, for the progress only.
    """
    written = 0
    async with letter_reader(pipeline.kafka, pipeline.topic_prefix) as reader:
        topics = reader.topics = _with_marks(reader.topics)
        await _make_marks_topic(pipeline, topics)
        async with ReplayProducer(pipeline.kafka, pipeline.topic_prefix, topics) as producer:
            # Read the marks only now: transactions of an earlier replay are committed or aborted, and other replays fenced.
            replayed = await reader.replayed()
            once = Distinct()

            async def left_to_do() -> AsyncIterator[list[DeadLetter]]:
                async for letters in _selected(reader, selection, ends, lambda _: None, set()):
                    due = [each for each in letters if not obstacle(each, topics) and each not in replayed]
                    yield [each for each in due if once.add(each)]

            async for letters in in_transactions(left_to_do()):
                await producer.write(letters)
                written += len(letters)
                progress(f"{written:,} of {due:,} replayed")
    return written


async def _selected(
    reader: LetterReader,
    selection: Selection,
    ends: Offsets,
    progress: Progress,
    seen: set[str],
    begins: Offsets | None = None,
) -> AsyncIterator[list[DeadLetter]]:
    """Iterate over the selected letters; adds the reasons of all letters to ``seen``."""
    count = 0
    places = selection.places
    async for letters in reader.letters_at(places) if places else reader.letters(ends, begins):
        count += len(letters)
        progress(f"{count:,} dead letters read")
        seen.update(letter.reason for letter in letters)
        yield [letter for letter in letters if letter in selection]


def _check_reasons(asked_for: Collection[str], seen: Collection[str]) -> None:
    unknown = set(asked_for) - set(seen) - set(Reason) - {DAMAGED}
    if unknown:
        raise PipelineError(
            f"no dead letter has the reason {reasons_found(unknown)}", advice=f"reasons found: {reasons_found(seen)}"
        )


def _with_marks(topics: Topics) -> Topics:
    """As ``topics``, with the marks' topic, which may have to be made."""
    return replace(topics, marks_partitions=topics.marks_partitions or topics.letters_partitions)


async def _make_marks_topic(pipeline: Pipeline, topics: Topics) -> None:
    settings = load_settings(
        ServiceSettings,
        [
            f"--kafka-bootstrap-servers={pipeline.kafka}",
            f"--topic-prefix={pipeline.topic_prefix}",
            f"--topic-partitions={topics.marks_partitions}",
            f"--topic-replication-factor={topics.letters_replicas}",
        ],
    )
    try:
        async with asyncio.timeout(_MAKE_TOPIC_S):
            await ensure_topics(settings, [DEAD_LETTERS_REPLAYED])
    except TimeoutError as error:
        raise PipelineError(f"the topic {topics.marks!r} cannot be made", advice="look at the broker's log") from error
