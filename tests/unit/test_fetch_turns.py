from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import UnknownError
from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.fetch_turns import CYCLE_S, FetchInTurns, FetchTurns

AT_A_TIME, TURN_S = 2, 0.25
FETCH_S = 0.0625
SHARE_BYTES = 1_000


def partitions(*numbers: int) -> list[TopicPartition]:
    return [TopicPartition("orders", number) for number in numbers]


class Turns:
    """``FetchTurns`` with a clock of its own, which each fetch advances by ``fetch_s``."""

    def __init__(self, turn_s: float = TURN_S, fetch_s: float = FETCH_S) -> None:
        self.now_s = 1000.0
        self.fetch_s = fetch_s
        self.turns = FetchTurns(AT_A_TIME, turn_s, lambda: self.now_s)

    def fetch(self, *behind: int) -> set[int]:
        chosen = {partition.partition for partition in self.turns.choose(partitions(*behind))}
        self.now_s += self.fetch_s
        return chosen


def test_a_backlog_of_few_partitions_is_fetched_whole() -> None:
    assert Turns().fetch(4, 7) == {4, 7}
    assert Turns().fetch(4) == {4}
    assert Turns().fetch() == set()


def test_the_same_partitions_are_fetched_during_a_turn() -> None:
    turns = Turns()
    fetches = [turns.fetch(*range(6)) for _ in range(12)]
    assert sorted(number for turn in fetches for number in turn) == sorted([*range(6)] * 4)
    assert sum(earlier != later for earlier, later in pairwise(fetches)) == 2


@pytest.mark.parametrize("turn_s", [0.0, TURN_S])
@pytest.mark.parametrize("count", [5, 48, 200])
def test_every_partition_has_a_turn_in_each_cycle(count: int, turn_s: float) -> None:
    turns, random = Turns(turn_s, fetch_s=0.005), Random(count)
    longest_s = CYCLE_S + count / AT_A_TIME * turns.fetch_s + TURN_S  # a turn ends with a fetch
    fetched_s = dict.fromkeys(range(count), turns.now_s)
    while turns.now_s < 1000.0 + 4 * CYCLE_S:
        order = random.sample(range(count), count)  # as aiokafka shuffles them
        fetched_s |= dict.fromkeys(turns.fetch(*order), turns.now_s)
        assert turns.now_s - min(fetched_s.values()) < longest_s


def test_without_a_length_each_fetch_is_a_turn() -> None:
    turns = Turns(turn_s=0.0)
    fetches = [turns.fetch(*range(6)) for _ in range(3)]
    assert set.union(*fetches) == set(range(6))


def test_a_turn_ends_with_the_backlog_of_one_of_its_partitions() -> None:
    turns = Turns()
    done, other = turns.fetch(*range(6))
    rest = set(range(6)) - {done}
    assert not turns.fetch(*rest) & {done, other}


def test_a_partition_that_has_fallen_behind_is_the_next_one() -> None:
    turns = Turns()
    for _ in range(3):
        turns.fetch(*range(6))
        turns.now_s += TURN_S
    assert 9 in turns.fetch(*range(6), 9)


@dataclass
class FakeFetcher:
    """An assignment of partitions with their ends, and the fetches that were sent."""

    ends: dict[int, int | None]
    sent: list[tuple[int, list[tuple[int, int, int]]]] = field(default_factory=list)
    """Broker and partitions of each."""

    def state_value(self, partition: TopicPartition) -> Any:
        return SimpleNamespace(lso=self.ends[partition.partition], timestamp=len(self.sent))

    async def fetch(self, assignment: Any, broker: int, request: Any) -> bool:
        self.sent += [(broker, asked) for _, asked in request.topics]
        return True

    def in_turns(self) -> FetchInTurns:
        return FetchInTurns(self.fetch, lambda: FetchTurns(AT_A_TIME, TURN_S), SHARE_BYTES)


def request(*asked: tuple[int, int, int]) -> Any:
    return SimpleNamespace(topics=[("orders", list(asked))])


async def test_a_caught_up_partition_is_in_every_request_and_comes_first() -> None:
    fetcher = FakeFetcher({0: 50, 1: 50, 2: 50, 3: 50, 4: 7, 5: None})
    fetch = fetcher.in_turns()
    for position in (10, 11):
        behind = [(number, position, 500) for number in range(4)]
        assert await fetch(fetcher, 1, request(*behind, (4, 7, 500), (5, 0, 500)))
        _, asked = fetcher.sent[-1]
        assert asked[:2] == [(4, 7, 500), (5, 0, 500)]
        assert [(at, share) for _, at, share in asked[2:]] == [(position, SHARE_BYTES)] * AT_A_TIME


class SizeLimitingBroker:
    """Every partition gets a record of a byte before each fetch; the first one of ``LARGE`` is larger than a share.

    That one is in a response only if nothing is before it (KIP-74; Kafka: ReplicaManager.readFromLog).
    """

    LARGE = 5

    def __init__(self) -> None:
        self.positions = dict.fromkeys(range(6), 0)
        self.ends = dict.fromkeys(range(6), 0)
        self.states = {number: SimpleNamespace(lso=0, timestamp=0) for number in range(6)}

    def state_value(self, partition: TopicPartition) -> Any:
        return self.states[partition.partition]

    async def fetch(self, assignment: Any, broker: int, request: Any) -> bool:
        assert broker == 1
        self.ends = {number: end + 1 for number, end in self.ends.items()}
        is_empty = True
        [(_, asked)] = request.topics
        for number, position, _ in asked:
            state = assignment.state_value(TopicPartition("orders", number))
            state.lso = state.timestamp = self.ends[number]
            if is_empty or (number, position) != (self.LARGE, 0):
                self.positions[number] = self.ends[number]
                is_empty = False
        return True


class ThrottlingBroker(FakeFetcher):
    """Responds with nothing but every sixth time, as to a client that exceeds its quota."""

    def __init__(self, partitions: int) -> None:
        super().__init__(dict.fromkeys(range(partitions), 1_000_000))
        self.now_s = 1000.0
        self.fetches = 0
        self.read_s = dict.fromkeys(range(partitions), self.now_s)
        self.states: dict[int, Any] = {
            number: SimpleNamespace(lso=1_000_000, timestamp=None, has_valid_position=True, position=0)
            for number in range(partitions)
        }

    def state_value(self, partition: TopicPartition) -> Any:
        return self.states[partition.partition]

    async def fetch(self, assignment: Any, broker: int, request: Any) -> bool:
        await super().fetch(assignment, broker, request)
        self.now_s += 2
        self.fetches += 1
        if self.fetches % 6:
            return False
        for number, _, _ in request.topics[0][1]:
            self.read_s[number] = assignment.state_value(TopicPartition("orders", number)).timestamp = self.now_s
        return True


@pytest.mark.parametrize("turn_s", [0.0, TURN_S])
async def test_an_empty_response_does_not_use_up_a_turn(turn_s: float) -> None:
    """The responses' rhythm could otherwise match the turns', so that some partitions get all of those with nothing."""
    count = 12
    broker = ThrottlingBroker(count)
    turns = FetchTurns(AT_A_TIME, turn_s, lambda: broker.now_s)
    fetch = FetchInTurns(broker.fetch, lambda: turns, SHARE_BYTES, lambda: broker.now_s)
    for position in range(6 * 2 * count // AT_A_TIME):
        await fetch(broker, 1, request(*[(number, position, 500) for number in range(count)]))
        assert all(fetch.left_out_for_s(TopicPartition("orders", number)) < 100 for number in range(2, count))
    assert min(broker.read_s.values()) > 1000.0 + 12 * count / AT_A_TIME


@pytest.mark.parametrize("sought_to", [None, 3])
async def test_a_partition_whose_turn_brought_an_error_does_not_count_as_left_out(sought_to: int | None) -> None:
    """It would never count as stuck. No error is a response that is ignored since a new attempt has changed the position."""
    broker = ThrottlingBroker(4)
    failing, *others = partitions(0, 1, 2, 3)

    async def fetch_without_the_first(assignment: Any, _: int, request: Any) -> bool:
        for number, *_ in request.topics[0][1]:
            state = assignment.state_value(TopicPartition("orders", number))
            if number == failing.partition:
                state.position = sought_to or 0
            else:
                state.timestamp = broker.now_s = broker.now_s + 1
        return True

    turns = FetchTurns(AT_A_TIME, 0.0, lambda: broker.now_s)
    fetch = FetchInTurns(fetch_without_the_first, lambda: turns, SHARE_BYTES, lambda: broker.now_s)
    for _ in range(10):
        broker.states[failing.partition].position = 0
        await fetch(broker, 1, request(*[(number, 0, 500) for number in range(4)]))
    assert (fetch.left_out_for_s(failing) == float("inf")) is (sought_to is None)
    assert all(fetch.left_out_for_s(each) < 10 for each in others)


async def test_a_caught_up_partition_comes_first_after_an_empty_response() -> None:
    broker = ThrottlingBroker(3)
    broker.states[2].lso = 7
    fetch = FetchInTurns(broker.fetch, lambda: FetchTurns(AT_A_TIME, TURN_S), SHARE_BYTES)
    for _ in range(6):
        await fetch(broker, 1, request((0, 10, 500), (1, 10, 500), (2, 7, 500)))
    assert [asked[0] for _, asked in broker.sent] == [(2, 7, 500)] * 6


def test_a_partition_that_is_never_answered_does_not_keep_its_turn() -> None:
    turns = Turns()
    first = turns.fetch(*range(6))
    for _ in range(200):
        turns.turns.unanswered()
        turns.now_s += 1
        if turns.fetch(*range(6)) != first:
            break
    else:
        raise AssertionError("the others have no turn")


@pytest.mark.parametrize("turn_s", [0.0, TURN_S])
async def test_a_turn_of_damaged_partitions_is_a_turn(turn_s: float) -> None:
    """aiokafka only logs their error. It is not a response with nothing, which does not use up a turn."""
    now_s, damaged, others = 1000.0, partitions(0, 1), partitions(2, 3, 4, 5)
    fetched = dict.fromkeys([*damaged, *others], 0)
    states = {each: SimpleNamespace(lso=1_000_000, has_valid_position=True, position=0) for each in fetched}

    async def send(_: int, request: Any) -> Any:
        answers = []
        for number, *_ in request.topics[0][1]:
            partition = TopicPartition("orders", number)
            fetched[partition] += 1
            error = UnknownError.errno if partition in damaged else 0
            answers.append((number, error, 1_000_000, 1_000_000, None, b""))
        return SimpleNamespace(API_VERSION=4, topics=[("orders", answers)])

    fetcher: Any = SimpleNamespace(_client=SimpleNamespace(send=send), _client_rack=None, _preferred_read_replica={})
    send_request = partial(Fetcher._proc_fetch_request, fetcher)
    turns = FetchTurns(AT_A_TIME, turn_s, lambda: now_s)
    fetch = FetchInTurns(send_request, lambda: turns, SHARE_BYTES, lambda: now_s)

    async def fetch_often(times: int) -> None:
        nonlocal now_s
        for _ in range(times):
            now_s += FETCH_S
            for state in states.values():
                state.timestamp = None  # the real clock, in milliseconds, may stand still between two fetches
            assignment = SimpleNamespace(active=True, state_value=states.__getitem__)
            await fetch(assignment, 1, request(*[(each.partition, 0, 500) for each in states]))

    await fetch_often(60)
    assert set(fetched.values()) == {20}
    assert all(fetch.left_out_for_s(each) == float("inf") for each in damaged)
    assert all(fetch.left_out_for_s(each) < 10 for each in others)
    damaged.clear()
    await fetch_often(12)
    assert all(fetch.left_out_for_s(each) < 10 for each in states)


def test_a_partition_without_a_backlog_is_not_left_out() -> None:
    fetch = FakeFetcher({0: 0}).in_turns()
    assert fetch.left_out_for_s(TopicPartition("orders", 0)) == float("inf")


async def test_a_large_batch_is_read_beside_partitions_that_always_have_new_records() -> None:
    broker = SizeLimitingBroker()
    fetch = FetchInTurns(broker.fetch, lambda: FetchTurns(AT_A_TIME, TURN_S), SHARE_BYTES)
    for _ in range(3):
        await fetch(broker, 1, request(*[(number, position, 500) for number, position in broker.positions.items()]))
    assert all(broker.positions.values())


async def test_a_request_without_a_backlog_is_unchanged() -> None:
    fetcher = FakeFetcher({0: 10, 1: 10, 2: None})
    asked = [(2, 0, 500), (0, 10, 500), (1, 10, 500)]
    await fetcher.in_turns()(fetcher, 1, request(*asked))
    assert fetcher.sent == [(1, asked)]


async def test_each_broker_has_turns_of_its_own() -> None:
    fetcher = FakeFetcher(dict.fromkeys(range(8), 50))
    fetch = fetcher.in_turns()
    for broker, numbers in ((1, range(4)), (2, range(4, 8)), (1, range(4))):
        await fetch(fetcher, broker, request(*[(number, 10, 500) for number in numbers]))
    first, other, again = [[number for number, _, _ in asked] for _, asked in fetcher.sent]
    assert len(first) == len(other) == AT_A_TIME
    assert set(other) <= set(range(4, 8))
    assert again == first
