"""`pipeline dead-letters replay` against a real broker: exactly once, also if killed or run concurrently."""

import asyncio
import re
import signal
import time
from functools import partial
from random import Random

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from dead_letters.commands import Pipeline as LetterPipeline
from dead_letters.commands import plan_replay, replay
from dead_letters.selection import Selection
from libs.events.dead_letters import Reason
from libs.events.topics import DEAD_LETTERS_REPLAYED, ORDERS
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from tests.integration.command_line import PreloadedCommand
from tests.integration.dead_letters import (
    letter,
    many_letters,
    order,
    output_of,
    reasons,
    replayed_from,
    start_command,
    write_letters,
)
from tests.integration.pipeline import Pipeline
from tests.integration.services import HANGS_AFTER_S, eventually
from verification import topic_reader
from verification.reference_processor import read_catalogue
from verification.report import Damage
from verification.topic_reader import Offsets, Record, TopicReader
from verification.verify import CATALOGUE, verify

pytestmark = pytest.mark.usefixtures("topics")


async def test_the_senders_headers_survive_a_dead_letter_and_its_replay(pipeline: Pipeline) -> None:
    sent = [("traceparent", b"00-1-2-01"), ("tenant", None)]
    orders = pipeline.prefix + ORDERS.name
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        for value in (order(), order(product_id="prod-new")):
            await producer.send_and_wait(orders, value, partition=3, headers=[*sent, ("type", b"theirs")])

    async def headers_in(topic: str, count: int) -> list[tuple[str, bytes | None]]:
        """The headers of the ``count``-th record that is not a watermark."""

        async def all_written() -> bool:
            return len(await records()) == count

        async def records() -> list[Record]:
            found = await pipeline.read(topic)
            return [record for record in found if list(record.headers) != WATERMARK_HEADERS]

        await eventually(all_written, what=f"{count} records in {topic}")
        return list((await records())[-1].headers)

    catalogue = pipeline.directory / "catalogue.json"
    async with pipeline.service("processor") as processor:
        assert await headers_in("processed-orders", 1) == [*ORDER_HEADERS, *sent]
        assert (await headers_in("orders-dlq", 1))[5:] == [*sent, ("type", b"theirs")]
        processor.terminate()
        assert await processor.wait() == 0
    catalogue.write_bytes(orjson.dumps({"prod-new": {"product_name": "New", "category": "Home"}}))
    assert "replayed 1" in await output_of(pipeline, "replay", "--all", "--yes")
    async with pipeline.service("processor", PROCESSOR_CATALOGUE_PATH=str(catalogue)):
        (new_partition,) = [
            record.headers for record in await pipeline.read("orders") if "replayed.from" in dict(record.headers)
        ]
        assert list(new_partition)[:3] == [*sent, ("type", b"theirs")]

        async def is_processed() -> bool:
            return [*ORDER_HEADERS, *sent, new_partition[-1]] in [
                list(record.headers) for record in await pipeline.read("processed-orders")
            ]

        await eventually(is_processed, what="the replayed order is processed with its headers")


async def test_orders_are_replayed_after_their_product_was_added_to_the_catalogue(pipeline: Pipeline) -> None:
    catalogue = pipeline.directory / "catalogue.json"
    new_product = {"prod-new": {"product_name": "New", "category": "Test"}}
    catalogue.write_bytes(orjson.dumps(dict(read_catalogue(CATALOGUE)) | new_product))
    unknown = [order(order_id=f"unknown-{number}", product_id="prod-new") for number in range(30)]
    known = [order(order_id=f"known-{number}") for number in range(30)]
    async with pipeline.service("analytics"), pipeline.service("processor") as processor:
        await pipeline.send((number, [unknown[number], known[number]]) for number in range(6))
        await pipeline.send((number % 6, [unknown[number], known[number]]) for number in range(6, 30))

        async def all_rejected() -> bool:
            return len(await pipeline.read("orders-dlq")) == 30

        await eventually(all_rejected, what="30 dead letters")
        processor.terminate()
        assert await processor.wait() == 0
    assert (await reasons(pipeline))["unknown_product"]["replayed"] == 0
    out = await output_of(pipeline, "replay", "--reason=unknown_product", "--yes")
    assert "30 to be replayed" in out
    assert "replayed 30" in out
    assert (await reasons(pipeline))["unknown_product"]["replayed"] == 30
    assert "30 replayed before: skipped" in await output_of(pipeline, "replay", "--all", "--yes")
    assert sorted(record.value or b"" for record in await pipeline.read("orders") if record.headers) == sorted(unknown)

    processor = pipeline.service("processor", PROCESSOR_CATALOGUE_PATH=str(catalogue), IDLE_AFTER_SECONDS="1")
    async with pipeline.service("analytics"), processor:
        await pipeline.send([(0, [order(order_id="fresh", product_id="prod-new")])])
        verified = partial(
            verify,
            pipeline.kafka,
            topic_prefix=pipeline.prefix,
            window_seconds=pipeline.window_s,
            settle_s=HANGS_AFTER_S,
        )
        report = await verified(catalogues=[CATALOGUE, catalogue], wait_closed_s=HANGS_AFTER_S)
        with_new_catalogue = await verified(catalogues=[catalogue])
        with_old_catalogue = await verified(catalogues=[CATALOGUE])
    assert report.ok, report.as_json()
    assert (report.sent, report.processed, report.dead_letters) == (91, 61, {"unknown_product": 30})
    assert report.open_windows == 0
    assert with_new_catalogue.damage[Damage.DEAD_LETTER_UNEXPECTED] == 30
    assert with_old_catalogue.damage[Damage.UNEXPECTED] == with_old_catalogue.damage[Damage.DEAD_LETTER_LOST] == 31


async def test_a_replayed_order_is_validated_again(pipeline: Pipeline) -> None:
    """A future timestamp is no longer ahead; a record that is still invalid becomes one new letter, and the old one is marked."""
    async with pipeline.service("analytics"), pipeline.service("processor"):
        async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
            orders = pipeline.prefix + ORDERS.name
            await producer.send_and_wait(orders, b"no JSON", partition=2)
            early = order(timestamp=time.time() + 70)  # more than a minute ahead even if it arrives seconds later
            await producer.send_and_wait(orders, early, partition=2)

        async def letters(count: int) -> None:
            async def letters_exist() -> bool:
                return len(await pipeline.read("orders-dlq")) == count

            await eventually(letters_exist, what=f"{count} dead letters")

        await letters(2)
        await asyncio.sleep(max(0.0, orjson.loads(early)["timestamp"] - 60 - time.time()))
        assert "replayed 2" in await output_of(pipeline, "replay", "--all", "--yes")
        await letters(3)
        found = await reasons(pipeline)
        assert (found["malformed"]["letters"], found["malformed"]["replayed"]) == (2, 1)
        assert (found["future_timestamp"]["letters"], found["future_timestamp"]["replayed"]) == (1, 1)
        report = await verify(
            pipeline.kafka,
            topic_prefix=pipeline.prefix,
            window_seconds=pipeline.window_s,
            settle_s=HANGS_AFTER_S,
        )
    assert report.ok, report.as_json()
    assert (report.sent, report.processed, report.dead_letters.total()) == (4, 1, 3)


async def wait_for_first_replay(reader: TopicReader, pipeline: Pipeline, process: PreloadedCommand) -> None:
    """Return once ``process`` has replayed something, or has ended."""
    orders = pipeline.prefix + "orders"
    before = await reader.ends(orders)

    async def has_progressed() -> bool:
        return process.returncode is not None or await reader.ends(orders) != before

    await eventually(has_progressed, what="the replay has begun")


def replayed_before(out: str) -> int:
    """The number of letters replayed by earlier runs, as printed by the last one."""
    match = re.search(r"([0-9,]+) replayed before: skipped", out)
    assert match, out
    return int(match[1].replace(",", ""))


async def test_a_replay_that_is_killed_repeatedly_creates_no_duplicates(pipeline: Pipeline) -> None:
    random = Random(5)
    letters = many_letters(pipeline, 600)
    await write_letters(pipeline, letters)
    async with TopicReader(pipeline.kafka) as reader:
        for _ in range(5):
            process = start_command(pipeline, "replay", "--all", "--yes", slowly=True)
            await wait_for_first_replay(reader, pipeline, process)
            await asyncio.sleep(random.uniform(0, 0.2))
            process.kill()
            code, _, err = await process.communicate()
            assert code == -signal.SIGKILL, err
    out = await output_of(pipeline, "replay", "--all", "--yes")
    assert 5 <= replayed_before(out) < 600
    found = await replayed_from(pipeline)
    assert len(found) == 600
    assert set(found.values()) == {1}
    by_key = {record.key: record for record in await pipeline.read("orders")}
    for number, each in enumerate(letters):
        assert (by_key[each.key].value, by_key[each.key].partition) == (each.value, number % 6)


async def test_a_record_with_two_letters_is_replayed_once(pipeline: Pipeline) -> None:
    """The processor has read it twice, after a reset of its offsets."""
    await write_letters(pipeline, many_letters(pipeline, 1) * 2)
    where = LetterPipeline(KafkaAddress(pipeline.kafka), pipeline.prefix, 60)
    plan, ends = await plan_replay(where, Selection(), lambda _: None)
    assert plan.due.total() == 1
    assert await replay(where, Selection(), ends, 1, lambda _: None) == 1
    plan, _ = await plan_replay(where, Selection(), lambda _: None)
    assert (plan.due.total(), plan.replayed_before) == (0, 2)


async def test_one_of_two_concurrent_replays_is_fenced(pipeline: Pipeline) -> None:
    await write_letters(pipeline, many_letters(pipeline, 2000))
    first = start_command(pipeline, "replay", "--all", "--yes", slowly=True)
    async with TopicReader(pipeline.kafka) as reader:
        await wait_for_first_replay(reader, pipeline, first)
    out = await output_of(pipeline, "replay", "--all", "--yes")
    assert 1 <= replayed_before(out) < 2000
    code, _, err = await first.communicate()
    assert code == 1
    assert "another replay has taken over" in err
    found = await replayed_from(pipeline)
    assert len(found) == 2000
    assert set(found.values()) == {1}


async def test_nothing_is_replayed_while_marks_of_earlier_replays_cannot_be_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as after a broker has left out the marker of a replay's transaction: it would be replayed again."""
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", 2.0)
    first, second = (
        letter(pipeline, b"no JSON", Reason.MALFORMED, key=b"same partition", offset=number) for number in (1, 2)
    )
    where, everything = LetterPipeline(KafkaAddress(pipeline.kafka), pipeline.prefix, 5), Selection()

    async def planned_ends() -> Offsets:
        _, ends = await plan_replay(where, everything, lambda _: None)
        return ends

    async def replay_all(ends: Offsets | None = None) -> int:
        return await replay(where, everything, ends or await planned_ends(), 1, lambda _: None)

    await write_letters(pipeline, [first])
    assert await replay_all() == 1
    await write_letters(pipeline, [second])
    ends = await planned_ends()
    hanging = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=f"{pipeline.prefix}hangs")
    async with hanging:
        await hanging.begin_transaction()
        marks = pipeline.prefix + DEAD_LETTERS_REPLAYED.name
        await hanging.send_and_wait(marks, b"of an open transaction", b"key", partition=first.partition)
        for _ in range(2):
            with pytest.raises(PipelineError, match=f"a transaction in {marks} stays open"):
                await replay_all(ends)
        await hanging.abort_transaction()
    assert [await replay_all(), await replay_all()] == [1, 0]
    assert {*(await replayed_from(pipeline)).values()} == {1}
