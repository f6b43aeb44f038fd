"""`pipeline dead-letters` against a real broker, including replays."""

import asyncio
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from libs.events.dead_letters import Reason, RejectedError, dead_letter_headers
from libs.events.topics import ORDERS, ORDERS_DLQ
from libs.events.watermarks import ORDER_HEADERS, WATERMARK_HEADERS
from libs.runtime.kafka_client.partitioning import partition_for
from tests.integration.pipeline import Pipeline
from tests.integration.services import HANGS_AFTER_S, ROOT, eventually
from tests.unit.driver import FakeRecord
from verification.reference_processor import read_catalogue
from verification.report import Damage
from verification.topic_reader import Record, TopicReader
from verification.verify import CATALOGUE, verify

SLOWLY = "import dead_letters.replay; dead_letters.replay.LETTERS_PER_TRANSACTION = 1;from cli.app import main; main()"


@pytest.fixture
async def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Pipeline:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path)
    await pipeline.make_topics()
    return pipeline


class Command:
    """`pipeline dead-letters` as a process."""

    def __init__(self, pipeline: Pipeline, command: str, *arguments: str, slowly: bool = False) -> None:
        program = ["-c", SLOWLY] if slowly else ["-m", "cli"]
        where = [f"--bootstrap={pipeline.kafka}", f"--topic-prefix={pipeline.prefix}", "--window-seconds=5"]
        self._command = [sys.executable, *program, "dead-letters", command, *where, *arguments]

    async def start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._command, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    async def run(self) -> tuple[int, str, str]:
        """Exit code and output."""
        process = await self.start()
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


async def output_of(pipeline: Pipeline, *arguments: str) -> str:
    code, out, err = await Command(pipeline, *arguments).run()
    assert code == 0, err
    return out


async def reasons(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await output_of(pipeline, "list", "--json"))["reasons"]
    return found


async def replayed_from(pipeline: Pipeline) -> Counter[str]:
    """How often each letter is in `orders`."""
    return Counter(
        (dict(record.headers)["replayed.from"] or b"").decode().removeprefix(f"{pipeline.prefix}orders-dlq/")
        for record in await pipeline.read("orders")
        if record.headers
    )


def letter(pipeline: Pipeline, value: bytes | None, reason: Reason, **source: Any) -> FakeRecord:
    """A record of `orders` that becomes a dead letter, and the headers of its letter."""
    record = FakeRecord(value, **({"topic": pipeline.prefix + "orders"} | source))
    headers = tuple(
        dead_letter_headers(
            record.topic, record.partition, record.offset, RejectedError(reason, "as the test wants it")
        )
    )
    # A time of today: the broker deletes records beyond their retention.
    now_ms = int(time.time() * 1000)
    return FakeRecord(value, record.key, headers, partition=partition_for(record.key, 6), timestamp=now_ms)


async def write_letters(pipeline: Pipeline, letters: Sequence[FakeRecord]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, max_request_size=4 * 1024 * 1024)
    await producer.start()
    try:
        topic = pipeline.prefix + ORDERS_DLQ.name
        deliveries = []
        for each in letters:
            batch = producer.create_batch()  # send() rejects a record without key and value
            batch.append(timestamp=each.timestamp, key=each.key, value=each.value, headers=[*each.headers])
            deliveries.append(await producer.send_batch(batch, topic, partition=each.partition))
        await asyncio.gather(*deliveries)
    finally:
        await producer.stop()


def many_letters(pipeline: Pipeline, count: int) -> list[FakeRecord]:
    return [
        letter(
            pipeline, b"no JSON %d" % number, Reason.MALFORMED, key=b"%d" % number, partition=number % 6, offset=number
        )
        for number in range(count)
    ]


def order(**fields: object) -> bytes:
    valid = {"order_id": "o", "user_id": "u", "product_id": "prod-1", "amount": 12.5, "timestamp": time.time()}
    return orjson.dumps(valid | fields)


async def test_the_senders_headers_survive_a_dead_letter_and_its_replay(pipeline: Pipeline) -> None:
    sent = [("traceparent", b"00-1-2-01"), ("tenant", None)]
    await pipeline.make_topics()
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
        by_the_new = await verified(catalogues=[catalogue])
        by_the_old = await verified(catalogues=[CATALOGUE])
    assert report.ok, report.as_json()
    assert (report.sent, report.processed, report.dead_letters) == (91, 61, {"unknown_product": 30})
    assert report.open_windows == 0
    assert by_the_new.damage[Damage.DEAD_LETTER_UNEXPECTED] == 30
    assert by_the_old.damage[Damage.UNEXPECTED] == by_the_old.damage[Damage.DEAD_LETTER_LOST] == 31


async def test_a_replayed_order_is_validated_again(pipeline: Pipeline) -> None:
    """A future timestamp is no longer ahead; a record that is still invalid becomes one new letter, and the old one is marked."""
    async with pipeline.service("analytics"), pipeline.service("processor"):
        early = order(timestamp=time.time() + 70)
        await pipeline.send([(2, [early, b"no JSON"])])

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


async def wait_for_first_replay(reader: TopicReader, pipeline: Pipeline, process: asyncio.subprocess.Process) -> None:
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
            process = await Command(pipeline, "replay", "--all", "--yes", slowly=True).start()
            await wait_for_first_replay(reader, pipeline, process)
            await asyncio.sleep(random.uniform(0, 0.2))
            process.kill()
            _, err = await process.communicate()
            assert process.returncode == -signal.SIGKILL, err
    out = await output_of(pipeline, "replay", "--all", "--yes")
    assert 5 <= replayed_before(out) < 600
    found = await replayed_from(pipeline)
    assert len(found) == 600
    assert set(found.values()) == {1}
    by_key = {record.key: record for record in await pipeline.read("orders")}
    for number, each in enumerate(letters):
        assert (by_key[each.key].value, by_key[each.key].partition) == (each.value, number % 6)


async def test_one_of_two_concurrent_replays_is_fenced(pipeline: Pipeline) -> None:
    await write_letters(pipeline, many_letters(pipeline, 2000))
    first = await Command(pipeline, "replay", "--all", "--yes", slowly=True).start()
    async with TopicReader(pipeline.kafka) as reader:
        await wait_for_first_replay(reader, pipeline, first)
    out = await output_of(pipeline, "replay", "--all", "--yes")
    assert 1 <= replayed_before(out) < 2000
    _, err = await first.communicate()
    assert first.returncode == 1
    assert b"another replay has taken over" in err
    found = await replayed_from(pipeline)
    assert len(found) == 2000
    assert set(found.values()) == {1}


async def test_letters_are_selected_by_reason_or_position_and_some_cannot_be_replayed(pipeline: Pipeline) -> None:
    limit = 1024 * 1024 + 12
    overhead = 61 + 17  # a batch and a record of this size with neither key nor headers
    now_ms = int(time.time() * 1000)
    foreign = letter(pipeline, b"?", Reason.MALFORMED, topic=pipeline.prefix + "processed-orders")
    await write_letters(
        pipeline,
        [
            letter(pipeline, None, Reason.MALFORMED),
            letter(pipeline, b"a", Reason.UNKNOWN_PRODUCT, partition=1),
            letter(pipeline, b"b", Reason.UNKNOWN_PRODUCT, partition=1, key=b"k"),
            foreign,
            FakeRecord(b"damaged", headers=(("error.reason", b"malformed"), ("\x1b[2J", b"\xff")), timestamp=now_ms),
            letter(pipeline, b"x" * (limit - overhead), Reason.MISSING_FIELD),
            letter(pipeline, b"x" * (limit + 1), Reason.INVALID_ID),
            letter(pipeline, b"c", Reason.WRONG_TYPE, partition=6),
        ],
    )
    found = await reasons(pipeline)
    assert {reason: each["letters"] for reason, each in found.items()} == {
        "malformed": 2,
        "unknown_product": 2,
        "damaged_headers": 1,
        "missing_field": 1,
        "invalid_id": 1,
        "wrong_type": 1,
    }
    out = await output_of(pipeline, "replay", "--all", "--dry-run")
    assert "4 to be replayed" in out
    assert f"1 cannot be replayed, because they did not come from {pipeline.prefix}orders: 0/2" in out
    assert "their headers do not tell whence they came: 0/3" in out
    assert f"they are larger than {pipeline.prefix}orders takes: 0/5" in out
    assert "no longer has the partition they came from: 0/6" in out
    assert await pipeline.read("orders") == []

    keyed = partition_for(b"k", 6)
    assert "replayed 1" in await output_of(pipeline, "replay", f"{keyed}/0", "--yes")
    assert await replayed_from(pipeline) == {f"{keyed}/0": 1}
    assert "replayed 1" in await output_of(pipeline, "replay", "--reason=unknown_product", "--yes")
    assert await replayed_from(pipeline) == {f"{keyed}/0": 1, "0/1": 1}
    assert "replayed 2" in await output_of(pipeline, "replay", "--all", "--yes")
    orders = await pipeline.read("orders")
    assert Counter(len(record.value or b"") for record in orders) == {0: 1, 1: 2, limit - overhead: 1}
    (largest,) = (record for record in orders if len(record.value or b"") > 1)
    assert list(largest.headers) == []  # it would no longer fit

    damaged, replayed, listed = await asyncio.gather(
        output_of(pipeline, "show", "0/3"),
        output_of(pipeline, "show", "--json", "0/1"),
        output_of(pipeline, "list", "--reason=unknown_product", "--json"),
    )
    assert "the header error.message is missing" in damaged
    assert "header \\x1b[2J" in damaged
    mark = orjson.loads(replayed)["replayed"]
    assert (mark["partition"], mark["offset"]) == (1, 2)
    newest = orjson.loads(listed)["newest"]
    assert [(each["place"], each["replayed"]) for each in newest] == [("0/1", True), (f"{keyed}/0", True)]


async def test_list_counts_the_letters_since_the_last_call(pipeline: Pipeline) -> None:
    async def listed(*since: str) -> tuple[dict[str, int], list[str]]:
        arguments = ["--from", *since] if since else []
        found = orjson.loads(await output_of(pipeline, "list", "--json", *arguments))
        return {name: each["letters"] for name, each in found["reasons"].items()}, found["next"]

    empty = [f"{number}/0" for number in range(6)]
    assert await listed() == ({}, empty)
    await write_letters(pipeline, many_letters(pipeline, 20))
    found, after = await listed(*empty)
    assert found == {"malformed": 20}
    assert await listed(*after) == ({}, after)
    new = [
        letter(pipeline, b"7", reason, key=key) for reason, key in ((Reason.WRONG_TYPE, b"0"), (Reason.MALFORMED, b"1"))
    ]
    await write_letters(pipeline, new)
    found, later = await listed(*after)
    assert found == {"wrong_type": 1, "malformed": 1}
    assert later != after
    assert (await listed(*after[1:]))[0]["malformed"] > 1, "a partition that is not named is counted from its beginning"
    assert (await listed(*(f"{place}000" for place in later if not place.endswith("/0"))))[0] == {
        "malformed": 21,
        "wrong_type": 1,
    }, "places that are not there yet are those of a topic that has been deleted"
    of_reason = orjson.loads(
        await output_of(pipeline, "list", "--reason=wrong_type", "--reason=malformed", "--json", "--from", *after)
    )
    assert of_reason["letters"] == 2


async def test_an_invalid_command_has_a_clear_error(pipeline: Pipeline) -> None:
    messages = {
        ("show", "0/0"): "there is no dead letter at 0/0 (that partition is empty)",
        ("show", "77/0"): "there is no dead letter at 77/0",
        ("replay", "--reason=none_such", "--yes"): "no dead letter has the reason none_such (reasons found: none)",
        ("list", "--topic-prefix=other-"): "there is no topic 'other-orders'",
        ("list", "--bootstrap=127.0.0.1:1"): "no broker at 127.0.0.1:1",
    }
    found = await asyncio.gather(*(Command(pipeline, *arguments).run() for arguments in messages))
    for (code, out, err), message in zip(found, messages.values(), strict=True):
        assert (code, out) == (1, "")
        assert message in err
        assert "Traceback" not in err
