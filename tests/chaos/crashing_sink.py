"""A sink that kills itself at one step of writing metrics; CRASHING_SINK_STEP names the step (see STEPS)."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from aiokafka import AIOKafkaConsumer

from libs.events.rights import sink_role
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.life_cycle import Context, run_service
from services.sink.data_sink import copy_into, writers_of
from services.sink.file.disk import Disk
from services.sink.file.finished_files import Span
from services.sink.file.metrics_file import MetricsFile
from services.sink.progress import Progress
from services.sink.record_batcher import Position
from services.sink.sink_settings import SinkSettings

STEPS = (
    "before the text is written",
    "in the middle of the text",
    "before the text is synced",
    "before the checkpoint is written",
    "in the middle of the checkpoint",
    "before the checkpoint is synced",
    "before the checkpoint is put in place",
    "before the folder is synced",
    "before the offsets are committed",
    "after the offsets are committed",
)

FINISHING_STEPS = (
    "before the empty file is made",
    "before the finished file has its name",
    "before the empty file takes the live one's place",
    "after the empty file has taken the live one's place",
)
"""Steps of rotating the file, with SINK_ROTATE only."""


class _KillSwitch:
    """Kills the process at the given step, once it is armed."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.armed = False

    def reach(self, step: str) -> None:
        if self.armed and step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


class _CrashingDisk(Disk):
    def __init__(self, kill_switch: _KillSwitch) -> None:
        self._kill_switch = kill_switch
        self.writing = "checkpoint"

    def append(self, descriptor: int, data: bytes) -> None:
        self._kill_switch.reach(f"before the {self.writing} is written")
        middle = len(data) - 7
        super().append(descriptor, data[:middle])
        self._kill_switch.reach(f"in the middle of the {self.writing}")
        super().append(descriptor, data[middle:])

    def sync(self, descriptor: int) -> None:
        self._kill_switch.reach(f"before the {self.writing} is synced")
        super().sync(descriptor)
        self.writing = "checkpoint"

    def create(self, path: Path) -> None:
        self._kill_switch.reach("before the empty file is made")
        super().create(path)

    def link(self, source: Path, target: Path) -> None:
        self._kill_switch.reach("before the finished file has its name")
        super().link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        if source.name.endswith(".empty.tmp"):
            self._kill_switch.reach("before the empty file takes the live one's place")
            super().rename(source, target)
            self._kill_switch.reach("after the empty file has taken the live one's place")
            return
        self._kill_switch.reach("before the checkpoint is put in place")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self._kill_switch.reach("before the folder is synced")
        super().sync_directory(path)


class _CrashingFile(MetricsFile):
    def __init__(self, settings: SinkSettings, kill_switch: _KillSwitch) -> None:
        self._kill_switch = kill_switch
        self._crashing_disk = _CrashingDisk(kill_switch)
        topic = settings.topic_prefix + PRODUCT_METRICS.name
        super().__init__(settings.sink_output_path, topic, self._crashing_disk, settings.rotate())

    def write(self, lines: Sequence[bytes], positions: Mapping[int, Position], span: Span | None = None) -> None:
        if lines:
            self._kill_switch.armed = True
            self._crashing_disk.writing = "text"
        super().write(lines, positions, span)


async def run(context: Context[SinkSettings]) -> None:
    """As the sink's own, with a kill switch."""
    kill_switch = _KillSwitch(os.environ["CRASHING_SINK_STEP"])
    commit = Progress.commit

    async def crashing_commit(self: Progress, consumer: AIOKafkaConsumer) -> None:
        kill_switch.reach("before the offsets are committed")
        await commit(self, consumer)
        kill_switch.reach("after the offsets are committed")

    Progress.commit = crashing_commit  # type: ignore[method-assign]  # the only way to interrupt a commit
    await copy_into(writers_of(context, _CrashingFile(context.settings, kill_switch)), context)


if __name__ == "__main__":
    run_service("sink", SinkSettings, [PRODUCT_METRICS], run, lambda settings: sink_role(settings.sink_outputs))
