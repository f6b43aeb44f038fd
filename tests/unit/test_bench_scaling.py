"""The scaling benchmark: which core runs what, how a figure grows, the tables, and what a service's log says."""

import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.scaling.costs import NOTHING_WRITTEN, Cost, Peak
from benchmarks.scaling.recovery import Recovered
from benchmarks.scaling.replicas import Scaled
from benchmarks.scaling.report import Measured, Row, exponent, tables, write
from benchmarks.scaling.service import Service, broker_cores, core_of, describe_cores
from benchmarks.scaling.start import Started
from benchmarks.scaling.state import Restored, State

MB = 10**6


@pytest.mark.parametrize(
    ("cores", "broker", "replicas"),
    [
        (range(8), {0, 1, 2, 3, 4}, [7, 6, 5]),
        (range(4), {0, 1}, [3, 2, 1]),
        ([4, 9], {4, 9}, [9, 4, 9]),
        ([5], {5}, [5, 5, 5]),
    ],
)
def test_replicas_get_their_own_cores_while_there_are_enough(
    cores: list[int], broker: set[int], replicas: list[int]
) -> None:
    assert broker_cores(cores) == broker
    assert [core_of(cores, number) for number in range(3)] == replicas


def test_replicas_that_share_the_brokers_cores_are_named() -> None:
    assert "broker and benchmark on 5 of them, 3 of 3 replicas on a core of their own" in describe_cores(range(8))
    assert "2 of 3 replicas on a core of their own, any further one shares the broker's" in describe_cores(range(4))
    assert "1 of 3 replicas on a core of its own, any further one shares the broker's" in describe_cores(range(3))


def test_the_growth_exponent() -> None:
    sizes = [1_000.0, 10_000.0, 100_000.0, 300_000.0]
    assert exponent([(size, size / 7) for size in sizes]) == pytest.approx(1.0)
    assert exponent([(size, size * size / 7) for size in sizes]) == pytest.approx(2.0)
    assert exponent([(size, 7.0) for size in sizes]) == pytest.approx(0.0)
    assert exponent([(1_000.0, 1.0), (1_000.0, 2.0)]) is None
    assert exponent([]) is None


def scaled(replicas: int, per_s: float, output: str = "exact", partitions: int = 6) -> Scaled:
    return Scaled("processor", replicas, partitions, 1_000, per_s, 8.0, 80 * MB, output)


def test_medians_are_compared_with_those_of_one_replica() -> None:
    rows = [scaled(1, 90.0), scaled(2, 150.0), scaled(1, 110.0), scaled(2, 210.0, "1 windows lost"), scaled(1, 100.0)]
    (table,) = tables(rows)
    found = [dict(zip(table.headings, row, strict=True)) for row in table.rows]
    assert [row["replicas"] for row in found] == ["1", "2"]
    assert [row["orders/s"] for row in found] == ["100", "180"]
    assert [row["x"] for row in found] == ["1.00", "1.80"]
    assert [row["lowest"] for row in found] == ["90", "150"]
    assert [row["highest"] for row in found] == ["110", "210"]
    assert [row["output"] for row in found] == ["exact", "1 windows lost; exact"]


def test_a_single_size_has_no_comparison() -> None:
    assert tables([scaled(1, 90.0), scaled(1, 100.0)]) == []


def restored(records: int, seconds: float) -> Restored:
    return Restored(1_000, 1, "not compacted", records, 60 * records, seconds, 70 * MB, "exact")


def test_growth_is_reported_for_changelogs_that_take_longer_than_the_start() -> None:
    rows = [restored(100_000, 1.0), restored(1_000, 0.9), restored(200_000, 2.0), restored(400_000, 4.0)]
    (table,) = tables(rows)
    assert table.title.endswith("seconds grow with records^1.00")
    assert [row[5] for row in table.rows] == ["90.00", "1.00", "1.00", "1.00"]


def every_kind() -> list[Row]:
    return [
        scaled(1, 90.0),
        Cost("sink", "no traffic", 6, 0.01, 50 * MB),
        Peak("sink", "10 metrics", 101 * MB, "exact"),
        Started("sink", [1.0, 1.5, 1.1], [1.2, 1.3, 1.4]),
        State(1_000, 1, 2_000, 10.0, 20.0, 8.0, 80 * MB, 0.5, 70 * MB, 0, "exact"),
        restored(100_000, 1.0),
        Recovered("processor", "a replica joins", 1.0, [0.4, 0.2, 0.9]),
    ]


def test_a_peak_above_100_mb_is_marked() -> None:
    over, under = Peak("sink", "x", 100 * MB + 1, "exact"), Peak("sink", "x", 100 * MB, "exact")
    (table,) = tables([over, under])
    assert [row[table.headings.index("at most MB")] for row in table.rows] == ["100: MORE", "100"]


def test_inexact_results_are_reported() -> None:
    lost = scaled(2, 90.0, "3 windows lost")
    assert Measured("", every_kind()).wrong == []
    assert Measured("", [*every_kind(), lost]).wrong == [f"{lost}"]


def test_an_idle_replica_that_writes_is_reported() -> None:
    idle = Cost("sink", "at rest", 6, 0.001, 50 * MB, NOTHING_WRITTEN)
    writing = Cost("sink", "at rest", 6, 0.001, 50 * MB, "1,024 bytes written")
    assert Measured("", [idle]).wrong == []
    assert Measured("", [idle, writing]).wrong == [f"{writing}"]


def test_parts_that_are_not_measured_again_are_kept(tmp_path: Path) -> None:
    write(tmp_path, {"state": Measured("first", every_kind()), "idle": Measured("first", [])})
    before = orjson.loads((tmp_path / "scaling.json").read_bytes())
    write(tmp_path, {"idle": Measured("second", [Cost("sink", "no traffic", 6, 0.25, 50 * MB)])})
    after = orjson.loads((tmp_path / "scaling.json").read_bytes())
    assert after["state"] == before["state"]
    assert after["idle"]["about"] == "second"
    text = (tmp_path / "scaling.md").read_text()
    assert "**state**: first" in text
    assert "| sink | 3 | 1.10 (1.00-1.50) | 1.30 (1.20-1.40) |" in text
    assert "| processor | a replica joins | 3 | 1 | 0.40 | 0.90 |" in text
    assert "| sink | no traffic | 6 | 25.0% | 50 | - |" in text


def a_service(tmp_path: Path, *events: tuple[str, object]) -> Service:
    log = tmp_path / "service.log"
    lines = [orjson.dumps({"event": event, "partitions": partitions}) + b"\n" for event, partitions in events]
    log.write_bytes(b"Traceback: no JSON\n" + b"".join(lines) + b'{"event": "partition star')
    return Service(sys.executable, "analytics", log, {}, {0})


def test_a_replica_is_ready_once_it_has_started_all_newly_assigned_partitions(tmp_path: Path) -> None:
    assigned, started = "partitions assigned", ("partition started", None)
    assert not a_service(tmp_path).has_started_its_partitions
    assert a_service(tmp_path, (assigned, [])).has_started_its_partitions
    assert a_service(tmp_path, (assigned, [0, 1]), started, started).has_started_its_partitions
    again = a_service(tmp_path, (assigned, [0, 1]), started, started, (assigned, [1]))
    assert not again.has_started_its_partitions
    assert again.assigned == [1]
    assert a_service(tmp_path, (assigned, [0, 1]), started, (assigned, [1]), started).has_started_its_partitions
