"""The chaos suite's faults report a problem if they had no effect."""

from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from libs.events.topics import LATE_ORDERS
from tests.chaos import broker_faults, edge_faults
from tests.chaos.new_lines import NewLines

SENT = {"event": "all orders sent", "sent": 900}


class Generator:
    """A generator's replica with this log."""

    def __init__(self, *events: dict[str, object]) -> None:
        self.process = self
        self.awaited: list[str] = []
        self.leased = False
        self._events = list(events)

    def __str__(self) -> str:
        return "generator-2"

    async def wait_for(self, event: str) -> None:
        self.awaited.append(event)

    def events(self) -> list[dict[str, object]]:
        return self._events


class Stack:
    """Starts a generator with this log for each clock."""

    def __init__(self, *events: dict[str, object]) -> None:
        self.say = lambda _: None
        self.problems: list[str] = []
        self.clocks: list[int] = []
        self.removed: list[Generator] = []
        self._events = events

    def add(self, service: str, entry_file: Path, **env: str) -> Generator:
        self.clocks.append(int(env["CLOCK_AHEAD_SECONDS"]))
        return Generator(*self._events)

    async def remove(self, replica: Generator) -> None:
        self.removed.append(replica)


async def skewed(seed: int, *events: dict[str, object]) -> Stack:
    stack: Any = Stack(*events)
    assert await edge_faults.CLOCK_SKEWED.inject(stack, Random(seed)) == len(stack.clocks)
    assert all(each.awaited == ["generation starts"] for each in stack.removed)
    found: Stack = stack
    return found


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_faults, "_SKEWED_S", (0.0, 0.0))


@pytest.mark.usefixtures("no_time")
async def test_one_clock_is_always_behind_and_one_ahead() -> None:
    for seed in range(20):
        stack = await skewed(seed, SENT)
        assert {-40, 50} <= set(stack.clocks)
        assert stack.problems == []


@pytest.mark.usefixtures("no_time")
@pytest.mark.parametrize("events", [[], [SENT | {"sent": 0}]])
async def test_a_skewed_generator_that_has_sent_nothing_is_a_problem(events: list[dict[str, object]]) -> None:
    stack = await skewed(1, *events)
    assert len(stack.problems) == len(stack.clocks)


@pytest.mark.parametrize("code", [0, TopicAuthorizationFailedError.errno])
async def test_a_topic_that_is_not_deleted_is_an_error(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    class Admin:
        def __init__(self, bootstrap_servers: str) -> None:
            pass

        async def start(self) -> None:
            pass

        async def close(self) -> None:
            pass

        async def delete_topics(self, topics: list[str]) -> SimpleNamespace:
            return SimpleNamespace(topic_error_codes=[(topic, code) for topic in topics])

    monkeypatch.setattr(broker_faults, "AIOKafkaAdminClient", Admin)
    stack: Any = SimpleNamespace(
        broker=SimpleNamespace(bootstrap_servers=""), pipeline=SimpleNamespace(prefix="prefix-")
    )
    if code:
        with pytest.raises(TopicAuthorizationFailedError, match="prefix-late-orders"):
            await broker_faults._delete(stack, LATE_ORDERS)
    else:
        await broker_faults._delete(stack, LATE_ORDERS)


def test_only_new_log_lines_are_evidence_also_those_of_replicas_added_later(tmp_path: Path) -> None:
    first, second = (SimpleNamespace(process=SimpleNamespace(log=tmp_path / name)) for name in ("first", "second"))
    first.process.log.write_text("refused\n")
    stack: Any = SimpleNamespace(replicas=[first])
    lines = NewLines(stack)
    assert not lines.contain("refused")
    second.process.log.write_text("refused\n")
    stack.replicas.append(second)
    assert lines.contain("refused")
