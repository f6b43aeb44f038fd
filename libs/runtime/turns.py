"""How many of a replica's partitions commit at the same time when none of them has to yet.

A transaction costs broker and replica the same, whatever is in it. When all partitions commit as soon as they have
something, they share what the machine can do: each takes longer, and no more of them end. Waiting for a turn costs an order
nothing then, since what else comes meanwhile goes with it, and its transaction is quicker. But where a transaction
waits for the network or for other brokers' copies rather than for a processor, there is nothing to wait for. How long they
take tells the two apart, as the round-trip time does for a connection in TCP Vegas (Brakmo and Peterson, 1994).
"""

import asyncio
from collections import deque

# Of those at work at the same time, so many may be there only to wait for the others.
_TOO_FEW_WAIT = 1.0
_TOO_MANY_WAIT = 2.0
_FEWEST = 2.0
# How long one takes that waits for no other shows only when few are at work, and it changes: to be learnt anew now and then,
# as BBR does (Cardwell et al., 2016).
_LEARN_ANEW_AFTER = 1000


class CommitTurns:
    """Hands out turns in the order in which they were asked for."""

    def __init__(self) -> None:
        self._taken = 0
        self._asked: deque[asyncio.Future[None]] = deque()
        self._begin_to_learn()

    def _begin_to_learn(self) -> None:
        self._limit = _FEWEST
        self._quickest_s = float("inf")
        self._learnt_from = 0

    def ask(self) -> asyncio.Future[None]:
        """A turn; it has come when the future is done, and is to be given back in any case."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(turn)
        self._hand_out()
        return turn

    def give_back(self, turn: asyncio.Future[None], took_s: float | None = None) -> None:
        """The turn is over, or not wanted any more; ``took_s`` is how long its transaction took."""
        if turn.cancel():
            self._asked.remove(turn)
            return
        if took_s is not None:
            self._learn(took_s)
        self._taken -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._asked and self._taken < int(self._limit):
            self._asked.popleft().set_result(None)
            self._taken += 1

    def _learn(self, took_s: float) -> None:
        if self._learnt_from == _LEARN_ANEW_AFTER:
            self._begin_to_learn()
        self._learnt_from += 1
        self._quickest_s = min(self._quickest_s, took_s)
        waiting = self._taken * (1 - self._quickest_s / took_s)
        if waiting > _TOO_MANY_WAIT:
            self._limit = max(self._limit - 1 / self._limit, _FEWEST)
        elif waiting < _TOO_FEW_WAIT and self._taken >= int(self._limit):
            self._limit += 1 / self._limit
