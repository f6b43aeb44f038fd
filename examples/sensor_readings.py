"""Count, sum and peak of each sensor's readings per window: a second pipeline on the runtime (docs/runtime.md)."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec.json import decode, encode

from libs.runtime import api

READINGS = api.Topic("readings", {"message.timestamp.type": "LogAppendTime", "compression.type": "uncompressed"})
STATISTICS = api.Topic("sensor-statistics")
REJECTED = api.Topic("rejected-readings", {"max.message.bytes": "2097152"})  # a reading and one more header
STATE = api.Topic("sensor-state", {"cleanup.policy": "compact", "delete.retention.ms": "3600000"})
OUTPUTS = (STATISTICS, REJECTED, STATE)
PROGRESS_KEY = b"progress"  # in the changelog, beside the windows
WINDOW_MS, OUT_OF_ORDER_MS, AHEAD_MS, LONGEST_NAME = 60_000, 5_000, 60_000, 200


class Reading(msgspec.Struct):
    """The value of a record in `readings`, whose key is the sensor."""

    time_ms: Annotated[int, msgspec.Meta(ge=0)]
    millidegrees: Annotated[int, msgspec.Meta(ge=-(10**9), le=10**9)]


class SensorPartition(api.PartitionLogic):
    """One partition's windows. A window closes when the partition's event time has passed its end by 5 s."""

    state_offset: int | None = None
    watermark_s: float | None = None
    state_size = 0

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.windows: dict[tuple[int, str], Sequence[int]] = {}  # by end and sensor: count, sum, peak
        self.changed: set[tuple[int, str]] = set()
        self.watermark_ms = self.arrived_ms = 0

    def restore(self, records: Sequence[api.Record]) -> None:
        for record in records:
            key, value = record.key or b"", decode(record.value or b"null")
            if key == PROGRESS_KEY:
                self.state_offset, self.watermark_ms = value
            elif value:
                self.windows[decode(key, type=tuple[int, str])] = value
            else:  # a tombstone: the window is closed
                self.windows.pop(decode(key, type=tuple[int, str]), None)

    def process(self, records: Sequence[api.Record], output: api.Output) -> None:
        for record in records:
            self.arrived_ms = record.timestamp
            try:
                self.add(record)
            except (ValueError, msgspec.DecodeError, RecursionError) as error:
                headers = [*record.headers, ("reason", str(error).encode())]
                output.send(REJECTED.name, self.partition, record.key, record.value, record.timestamp, headers)

    def add(self, record: api.Record) -> None:
        sensor, reading = (record.key or b"").decode(), decode(record.value or b"", type=Reading)
        if not 0 < len(sensor) <= LONGEST_NAME or reading.time_ms > record.timestamp + AHEAD_MS:
            raise ValueError("the key must name a sensor, and time_ms must not be ahead of the reading's arrival")
        key = (reading.time_ms // WINDOW_MS + 1) * WINDOW_MS, sensor
        if key[0] <= self.watermark_ms:
            raise ValueError("late: its window is closed")
        count, total, peak = self.windows.get(key, (0, 0, reading.millidegrees))
        self.windows[key] = (count + 1, total + reading.millidegrees, max(peak, reading.millidegrees))
        self.changed.add(key)
        self.watermark_ms = max(self.watermark_ms, reading.time_ms - OUT_OF_ORDER_MS)

    def before_commit(self, output: api.Output, position: int) -> None:
        for end_ms, sensor in sorted(key for key in self.windows if key[0] <= self.watermark_ms):
            count, total, peak = self.windows.pop((end_ms, sensor))
            value = encode({"sensor": sensor, "end_ms": end_ms, "count": count, "sum": total, "peak": peak})
            output.send(STATISTICS.name, self.partition, sensor.encode(), value, self.arrived_ms, [])
            self.changed.add((end_ms, sensor))
        changes = {encode(key): self.windows.get(key) for key in self.changed}
        for name, state in {**changes, PROGRESS_KEY: (position, self.watermark_ms)}.items():
            output.send(STATE.name, self.partition, name, encode(state) if state else None, self.arrived_ms, [])
        self.changed.clear()
        self.state_size, self.watermark_s = len(self.windows), self.watermark_ms / 1000 or None


async def run(context: api.Context[api.ServiceSettings]) -> None:
    """Run until asked to stop."""
    stage = api.Stage(
        name="sensors",
        source=READINGS,
        outputs=OUTPUTS,
        changelog=STATE,
        logics=lambda sources: {source: SensorPartition(source.partition) for source in sources},
        metrics=api.StageMetrics(context.registry, READINGS.name, [topic.name for topic in OUTPUTS], stateful=True),
        depends_on={"TOPIC_PARTITIONS": context.settings.topic_partitions, "WINDOW_MS": WINDOW_MS},
    )
    await api.run_stage(stage, context)


if __name__ == "__main__":
    api.run_service("sensors", api.ServiceSettings, (READINGS, *OUTPUTS), run)
