"""Exponential backoff."""


class Backoff:
    """Doubling delays, from ``first_s`` to ``longest_s``."""

    def __init__(self, first_s: float = 0.2, longest_s: float = 5.0) -> None:
        self._first_s = self._next_s = first_s
        self._longest_s = longest_s

    def next_s(self) -> float:
        delay_s = self._next_s
        self._next_s = min(2 * delay_s, self._longest_s)
        return delay_s

    def reset(self) -> None:
        self._next_s = self._first_s
