"""The sink on a simulated disk that is full for as long as the file named by DISK_IS_FULL_WHILE exists."""

import errno
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.events.rights import sink_role
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.life_cycle import Context, run_service
from services.sink.data_sink import copy_into, writers_of
from services.sink.file.disk import Disk
from services.sink.file.metrics_file import MetricsFile
from services.sink.sink_settings import SinkSettings


class _FullDisk(Disk):
    def __init__(self, while_exists: Path) -> None:
        self._while_exists = while_exists

    def append(self, descriptor: int, data: bytes) -> None:
        if self._while_exists.exists():
            super().append(descriptor, data[: len(data) // 2])  # the part that still fitted
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().append(descriptor, data)


async def run(context: Context[SinkSettings]) -> None:
    """As the sink's own, on another disk."""
    settings = context.settings
    disk = _FullDisk(Path(os.environ["DISK_IS_FULL_WHILE"]))
    topic = settings.topic_prefix + PRODUCT_METRICS.name
    file = MetricsFile(settings.sink_output_path, topic, disk, settings.rotate())
    await copy_into(writers_of(context, file), context)


if __name__ == "__main__":
    run_service("sink", SinkSettings, [PRODUCT_METRICS], run, lambda settings: sink_role(settings.sink_outputs))
