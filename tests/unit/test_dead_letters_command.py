import sys
from collections.abc import AsyncIterator

import pytest

from dead_letters import replay
from dead_letters.__main__ import _parser, main
from dead_letters.letter import DeadLetter, Place, read_letter
from tests.unit.driver import FakeRecord

SETTINGS = ("KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX", "WINDOW_SECONDS")


def test_where_the_pipeline_is_may_be_said_before_or_after_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(SETTINGS, ("here:1", "mine.", "10"), strict=True):
        monkeypatch.setenv(name, value)

    def found(*arguments: str) -> tuple[str, str, int]:
        options = _parser().parse_args(arguments)
        return options.bootstrap, options.topic_prefix, options.window_seconds

    assert found("list") == ("here:1", "mine.", 10)
    assert found("--bootstrap=there:2", "list", "--topic-prefix=") == ("there:2", "", 10)
    assert found("--bootstrap=there:2", "show", "1/2", "--bootstrap=third:3", "--window-seconds=20") == (
        "third:3",
        "mine.",
        20,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "zero"], "'zero' is no place of a dead letter"),
        (["replay"], "say which letters"),
        (["replay", "--all", "0/1", "--yes"], "say which letters"),
        (["replay", "--reason=malformed", "0/1", "--yes"], "say which letters"),
        (["replay", "--all"], "nobody can be asked here"),
        (["list", "--limit=0"], "'0' is no positive number"),
        (["list", "--window-seconds=0"], "must be 1 or more"),
        (["list", "--bootstrap=:::"], "':::' is no host:port"),
        ([], "required: COMMAND"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["dead_letters", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


async def test_letters_are_portioned_by_number_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
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
