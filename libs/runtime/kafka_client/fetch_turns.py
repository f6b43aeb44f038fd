"""Fetches a few partitions at a time while many have a backlog."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

from aiokafka.structs import TopicPartition

from libs.runtime.kafka_client.fetch_pacing import Fetch

# The longest time until every partition with a backlog has been fetched once, unless single fetches are slow.
CYCLE_S = 5.0
# Longer than a broker leaves out all records because of a quota, with its default of eleven windows of a second.
_REPEATED_FOR_S = 30.0


class FetchTurns:
    """Decides which of the partitions with a backlog are fetched now: the same few for a turn, then those that waited longest.

    Args:
        at_a_time: the number of partitions in a turn.
        turn_s: the length of a turn, in seconds. With 0 each fetch is a turn, and all partitions are read evenly.
        monotonic_s: a monotonic clock, in seconds.
    """

    def __init__(self, at_a_time: int, turn_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._at_a_time = at_a_time
        self._turn_s = turn_s
        self._monotonic_s = monotonic_s
        self._turn: Collection[TopicPartition] = ()
        self._began_s = self._ends_s = 0.0
        self._is_repeated = False
        self._number = 0
        self._last_turns: dict[TopicPartition, int] = {}

    def choose(self, behind: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """The partitions among ``behind``, those with a backlog, to fetch now."""
        now_s = self._monotonic_s()
        turn = [partition for partition in self._turn if partition in behind]
        is_repeated, self._is_repeated = self._is_repeated, False
        if turn and is_repeated and now_s - self._began_s < _REPEATED_FOR_S:
            return turn
        if now_s >= self._ends_s or len(turn) < self._at_a_time:
            self._number += 1
            turn = sorted(behind, key=lambda partition: self._last_turns.get(partition, 0))[: self._at_a_time]
            self._turn = turn
            self._began_s = now_s
            self._ends_s = now_s + min(self._turn_s, CYCLE_S * self._at_a_time / max(len(behind), 1))
            self._last_turns |= dict.fromkeys(turn, self._number)
        return turn

    def unanswered(self) -> None:
        """Note that the last response named no partition, not even with an error, so that it was no turn.

        A broker responds so to a client that exceeds a quota (``consumer_byte_rate``). Otherwise the same partitions could get such
        responses each time.
        """
        self._is_repeated = True


class FetchInTurns:
    """Leaves partitions out of aiokafka's fetch requests by ``FetchTurns``, those of each broker by themselves.

    The broker fills the response in the request's order. A partition that was read to its end is in every request, before those with a
    backlog. First of all come those of which the last response had nothing: a batch larger than what is asked for is only in the response
    if nothing is before it (KIP-74).

    Args:
        fetch: sends a fetch to a broker, and takes in the response: aiokafka's ``Fetcher._proc_fetch_request``.
        new_turns: creates a broker's ``FetchTurns``.
        share_bytes: how much is asked for of a partition with a backlog, in bytes.
        monotonic_s: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        fetch: Fetch,
        new_turns: Callable[[], FetchTurns],
        share_bytes: int,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._monotonic_s = monotonic_s
        self._share_bytes = share_bytes
        self._turns = defaultdict[int, FetchTurns](new_turns)  # by broker
        self._asked: dict[TopicPartition, int] = {}  # with a backlog: the offset, in a request that was answered
        self._left_out_s: dict[TopicPartition, float] = {}
        self._failed = set[TopicPartition]()

    def left_out_for_s(self, partition: TopicPartition) -> float:
        """Seconds since ``partition`` was last left out of a request; infinite if it never was, or if its last turn brought an error."""
        if partition in self._failed:
            return float("inf")
        return self._monotonic_s() - self._left_out_s.get(partition, float("-inf"))

    async def __call__(self, assignment: Any, broker: int, request: Any) -> bool:
        """Send ``request``, without the partitions whose turn it is not; returns whether there are new records to read."""
        chosen = self._leave_out(assignment, broker, request)
        if not chosen:
            return await self._fetch(assignment, broker, request)
        asked = {TopicPartition(topic, number): at for topic, some in request.topics for number, at, _ in some}
        states = {partition: assignment.state_value(partition) for partition in asked}
        before = {partition: state.timestamp for partition, state in states.items()}
        answers = _NotedAnswers(assignment)
        has_records = await self._fetch(answers, broker, request)
        if not answers.partitions:
            self._turns[broker].unanswered()
        else:
            self._asked |= chosen
            missing = {each for each, state in states.items() if state.timestamp == before[each]}
            failed = {each for each in missing if _position(states[each]) == asked[each]}
            self._failed = self._failed.difference(asked) | failed
        return has_records

    def _leave_out(self, assignment: Any, broker: int, request: Any) -> dict[TopicPartition, int]:
        """Take the partitions whose turn it is not out of ``request``; returns the positions of those with a backlog in it."""
        positions: dict[TopicPartition, int] = {}
        for index, (topic, asked) in enumerate(request.topics):
            behind, read_to_end = {}, []
            for each in asked:
                number, position, _ = each
                partition = TopicPartition(topic, number)
                if (assignment.state_value(partition).lso or 0) > position:
                    behind[partition] = (number, position, self._share_bytes)
                else:
                    read_to_end.append(each)
            if behind:
                chosen = {partition: behind[partition] for partition in self._turns[broker].choose(behind)}
                unserved = [each for partition, each in chosen.items() if self._asked.get(partition) == each[1]]
                others = [each for partition, each in chosen.items() if self._asked.get(partition) != each[1]]
                positions |= {partition: position for partition, (_, position, _) in chosen.items()}
                self._left_out_s |= dict.fromkeys(behind.keys() - chosen.keys(), self._monotonic_s())
                request.topics[index] = (topic, unserved + read_to_end + others)
        return positions


class _NotedAnswers:
    """An assignment that notes the partitions in a response: aiokafka looks up the state of each one, also to log its error."""

    def __init__(self, assignment: Any) -> None:
        self._assignment = assignment
        self.partitions = set[TopicPartition]()

    def state_value(self, partition: TopicPartition) -> Any:
        self.partitions.add(partition)
        return self._assignment.state_value(partition)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._assignment, name)


def _position(state: Any) -> int | None:
    """The position, which a new attempt may have changed during a fetch: aiokafka then ignores the response."""
    return int(state.position) if state.has_valid_position else None
