"""The metrics file as the sink's loop sees it: its calls block, and are made in a thread."""

import asyncio
from collections.abc import Mapping, Sequence

import orjson

from services.sink.file.metrics_file import MetricsFile
from services.sink.metrics_writer import Window
from services.sink.topic_reader import Position, line_of


class FileWriter:
    """A ``MetricsWriter`` of lines onto ``file``."""

    kind = "file"

    def __init__(self, file: MetricsFile) -> None:
        self._file = file

    @property
    def size_bytes(self) -> int:
        return self._file.length

    def parse(self, value: bytes | None) -> bytes:
        return line_of(value)

    def window_of(self, item: bytes) -> Window:
        # What has no such field was not written by the analytics; it is kept as it is all the same.
        fields = orjson.loads(item)
        return Window(*(fields.get(name) for name in Window._fields))

    async def acquire(self) -> bool:
        return await asyncio.to_thread(self._file.acquire)

    async def open(self, cluster_id: str) -> Mapping[int, Position]:
        return await asyncio.to_thread(self._file.open, cluster_id)

    async def start_over(self, reason: str) -> None:
        await asyncio.to_thread(self._file.start_over, reason)

    async def write(self, items: Sequence[bytes], positions: Mapping[int, Position]) -> Sequence[str]:
        await asyncio.to_thread(self._file.write, items, positions)
        return ()

    def status(self) -> Mapping[str, object]:
        return self._file.status()

    async def close(self) -> None:
        self._file.close()
