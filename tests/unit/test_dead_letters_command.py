from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError

from dead_letters import reader, replay
from dead_letters.dead_letter import DeadLetter, Place, read_letter
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from tests.unit.driver import FakeRecord


async def test_letters_are_batched_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "LETTERS_PER_TRANSACTION", 3)

    def letter(offset: int, size: int) -> DeadLetter:
        return read_letter(FakeRecord(b"x" * size, offset=offset))

    async def chunks() -> AsyncIterator[list[DeadLetter]]:
        yield [letter(number, 1) for number in range(4)]
        yield []
        yield [letter(4, 250_000), letter(5, 250_000), letter(6, 50_000), letter(7, 1_000_000), letter(8, 1)]

    found = [[each.place for each in portion] async for portion in replay.in_transactions(chunks())]
    assert found == [
        [Place(0, 0), Place(0, 1), Place(0, 2)],
        [Place(0, 3), Place(0, 4), Place(0, 5)],
        [Place(0, 6)],
        [Place(0, 7)],
        [Place(0, 8)],
    ]


async def test_a_transaction_of_letters_ends_in_time_over_a_slow_link() -> None:
    """Regression: 4 MiB took longer than a transaction may over 1.6 Mbit/s, and every attempt began with the same letters."""

    async def letters() -> AsyncIterator[list[DeadLetter]]:
        yield [read_letter(FakeRecord(b"x" * 10_000, offset=number)) for number in range(400)]

    sizes = [sum(len(each.value or b"") for each in portion) async for portion in replay.in_transactions(letters())]
    assert sum(sizes) == 4_000_000
    assert max(sizes) <= 512 * 1024


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OffsetOutOfRangeError({}), "records were deleted while they were read"),
        (KafkaConnectionError(), "the broker went away"),
    ],
)
async def test_letters_that_retention_deletes_while_they_are_read_are_no_outage(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError, message: str
) -> None:
    async def look_up(*_: object) -> Any:
        return None

    monkeypatch.setattr(reader, "TopicReader", nullcontext)
    monkeypatch.setattr(reader, "_look_up", look_up)
    with pytest.raises(PipelineError, match=message):
        async with reader.letter_reader(KafkaAddress("there:1"), ""):
            raise error
