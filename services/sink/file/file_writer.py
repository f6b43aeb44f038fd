"""Adapts the metrics file to the sink's asynchronous interface: its blocking calls are made in a thread."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import orjson

from libs.events.product_metrics import LAST_SECOND
from services.sink.file.converter import Converter
from services.sink.file.lines import Line, lines_of, span_of
from services.sink.file.metrics_file import MetricsFile
from services.sink.file.rotate_setting import DAY_S
from services.sink.metrics_writer import Window
from services.sink.record_batcher import Position


class FileWriter:
    """A ``MetricsWriter`` that writes lines into ``file``; ``converter`` converts its finished files, if there is one."""

    kind = "file"

    def __init__(self, file: MetricsFile, converter: Converter | None = None) -> None:
        self._file = file
        self._converter = converter
        self._converting: asyncio.Task[None] | None = None

    @property
    def size_bytes(self) -> int:
        return self._file.length

    def parse(self, values: Sequence[bytes | None]) -> list[Line]:
        return lines_of(values)

    def groups_of(self, items: Sequence[Line]) -> Collection[int]:
        """The days of the windows, if each day has its own file."""
        if not (self._file.rotate and self._file.rotate.by_day):
            return ()
        starts = {item.window_start for item in items}
        return {int(start) // DAY_S for start in starts if start is not None and 0 <= start <= LAST_SECOND}

    def windows_of(self, items: Sequence[Line]) -> list[Window]:
        return [Window(*map(orjson.loads(item.text).get, Window._fields)) for item in items]

    def window_ends_of(self, items: Sequence[Line]) -> set[float]:
        return {item.window_end for item in items if item.window_end is not None}

    async def acquire(self) -> bool:
        # A failed write may have left a file that is being finished: its metrics are written again if it is removed.
        await self._stop_converting()
        return await asyncio.to_thread(self._file.acquire)

    async def open(self, cluster_id: str) -> Mapping[int, Position]:
        await self._stop_converting()  # opening may rename files
        positions = await asyncio.to_thread(self._file.open, cluster_id)
        self._start_converting()
        return positions

    async def start_over(self, reason: str) -> None:
        await self._stop_converting()
        await asyncio.to_thread(self._file.start_over, reason)
        self._start_converting()

    async def write(self, items: Sequence[Line], positions: Mapping[int, Position]) -> Sequence[str]:
        if self._converting and self._converting.done():
            self._converting.result()  # it only ends because of a bug
        await asyncio.to_thread(self._write, items, positions)
        return ()

    def _write(self, items: Sequence[Line], positions: Mapping[int, Position]) -> None:
        self._file.write([item.text for item in items], positions, span_of(items) if self._file.rotate else None)

    def status(self) -> Mapping[str, object]:
        return self._file.status()

    async def close(self) -> None:
        await self._stop_converting()
        self._file.close()

    def _start_converting(self) -> None:
        if self._converter:
            self._converting = asyncio.create_task(self._converter.run())

    async def _stop_converting(self) -> None:
        if self._converting:
            self._converting.cancel()
            await asyncio.gather(self._converting, return_exceptions=True)
            self._converting = None
