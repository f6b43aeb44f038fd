from collections.abc import AsyncIterator

import pytest

from dead_letters import replay
from dead_letters.dead_letter import DeadLetter, Place, read_letter
from tests.unit.driver import FakeRecord


async def test_letters_are_batched_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "LETTERS_PER_TRANSACTION", 3)

    def letter(offset: int, size: int) -> DeadLetter:
        return read_letter(FakeRecord(b"x" * size, offset=offset))

    async def chunks() -> AsyncIterator[list[DeadLetter]]:
        yield [letter(number, 1) for number in range(4)]
        yield []
        yield [letter(4, 2_000_000), letter(5, 3_000_000), letter(6, 1)]

    found = [[each.place for each in portion] async for portion in replay.in_transactions(chunks())]
    assert found == [
        [Place(0, 0), Place(0, 1), Place(0, 2)],
        [Place(0, 3), Place(0, 4), Place(0, 5)],
        [Place(0, 6)],
    ]
