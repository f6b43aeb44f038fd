"""`pipeline dead-letters` against a real broker: lists, selections and errors."""

import asyncio
import time
from collections import Counter

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from dead_letters.commands import Pipeline as LetterPipeline
from dead_letters.commands import find_letter, gather, plan_replay
from dead_letters.dead_letter import Place
from dead_letters.selection import Selection
from dead_letters.summaries import ByReason
from libs.events.dead_letters import Reason
from libs.events.topics import ORDERS_DLQ
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from libs.runtime.kafka_client.partitioning import partition_for
from tests.integration.dead_letters import (
    letter,
    many_letters,
    output_of,
    reasons,
    replayed_from,
    start_command,
    write_letters,
)
from tests.integration.pipeline import Pipeline
from tests.unit.driver import FakeRecord
from verification import topic_reader

pytestmark = pytest.mark.usefixtures("topics")


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
    assert "their headers do not say where they came from: 0/3" in out
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


async def test_letters_behind_an_open_transaction_are_not_left_out_silently(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", 2.0)
    where, everything = LetterPipeline(KafkaAddress(pipeline.kafka), pipeline.prefix, 5), Selection()
    topic = pipeline.prefix + ORDERS_DLQ.name
    hidden = letter(pipeline, b"no JSON", Reason.MALFORMED)

    async def count() -> int:
        found = ByReason()
        await gather(where, everything, found, lambda _: None)
        return sum(each.letters for each in found.sums.values())

    async def plan() -> int:
        found, _ = await plan_replay(where, everything, lambda _: None)
        return found.selected

    async def show() -> int:
        await find_letter(where, Place(hidden.partition, 1))
        return 1

    commands = (count, plan, show)
    hanging = AIOKafkaProducer(bootstrap_servers=pipeline.kafka, transactional_id=f"{pipeline.prefix}hangs")
    async with hanging:
        await hanging.begin_transaction()
        await hanging.send_and_wait(topic, b"aborted", partition=hidden.partition)
        await write_letters(pipeline, [hidden])
        for command in commands:
            with pytest.raises(PipelineError, match=f"a transaction in {topic} stays open"):
                await command()
        await hanging.abort_transaction()
    assert [await command() for command in commands] == [1, 1, 1]


async def test_an_invalid_command_has_a_clear_error(pipeline: Pipeline) -> None:
    messages = {
        ("show", "0/0"): "there is no dead letter at 0/0 (that partition is empty)",
        ("show", "77/0"): "there is no dead letter at 77/0",
        ("replay", "--reason=none_such", "--yes"): "no dead letter has the reason none_such (reasons found: none)",
        ("list", "--topic-prefix=other-"): "there is no topic 'other-orders'",
        ("list", "--bootstrap=127.0.0.1:1"): "no broker at 127.0.0.1:1",
    }
    found = await asyncio.gather(*(start_command(pipeline, *arguments).communicate() for arguments in messages))
    for (code, out, err), message in zip(found, messages.values(), strict=True):
        assert (code, out) == (1, "")
        assert message in err
        assert "Traceback" not in err
