"""The logic of examples/sensor_readings.py without Kafka; tests/integration runs it on a real broker."""

import orjson

from examples.sensor_readings import SensorPartition
from tests.unit.driver import FakeOutput, FakeRecord


def reading(time_ms: int, millidegrees: int = 5) -> FakeRecord:
    return FakeRecord(orjson.dumps({"time_ms": time_ms, "millidegrees": millidegrees}), key=b"boiler-1")


def test_a_window_closes_when_event_time_has_passed_its_end_by_five_seconds() -> None:
    logic, output = SensorPartition(0), FakeOutput()
    logic.process([reading(1_000, 7), reading(59_999, -2), reading(64_999)], output)
    logic.before_commit(output, 3)
    assert not output.records["sensor-statistics", 0]
    logic.process([reading(65_000), reading(59_999)], output)
    logic.before_commit(output, 5)
    (closed,) = output.records["sensor-statistics", 0]
    assert orjson.loads(closed.value or b"") == {
        "sensor": "boiler-1",
        "end_ms": 60_000,
        "count": 2,
        "sum": 5,
        "peak": 7,
    }
    (late,) = output.records["rejected-readings", 0]
    assert dict(late.headers)["reason"] == b"late: its window is closed"


def test_restored_state_continues_at_the_committed_offset() -> None:
    first, output = SensorPartition(0), FakeOutput()
    first.process([reading(1_000), reading(61_000)], output)
    first.before_commit(output, 2)
    second = SensorPartition(0)
    second.restore(output.records["sensor-state", 0])
    assert second.state_offset == 2
    assert {key: tuple(window) for key, window in second.windows.items()} == first.windows
    first.process([reading(125_000)], output)
    first.before_commit(output, 3)
    third = SensorPartition(0)
    third.restore(output.records["sensor-state", 0])
    assert (third.state_offset, third.watermark_ms) == (3, 120_000)
    assert list(third.windows) == [(180_000, "boiler-1")]
