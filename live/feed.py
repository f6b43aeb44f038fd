"""The newest message, for any number of readers."""

import asyncio


class Feed:
    """Keeps only the newest message: a slow reader misses what is outdated, and nothing piles up for it."""

    def __init__(self) -> None:
        self._number = 0
        self._message = b""
        self._published = asyncio.Event()

    def publish(self, message: bytes) -> None:
        self._number += 1
        self._message = message
        self._published.set()
        self._published = asyncio.Event()

    async def after(self, number: int) -> tuple[int, bytes]:
        """The newest message and its number, once that is another than ``number``; the first one's is 1."""
        while self._number == number:
            await self._published.wait()
        return self._number, self._message
