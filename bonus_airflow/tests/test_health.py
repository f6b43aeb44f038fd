"""Tests when a part counts as broken or slow."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from bonus_airflow.operations.conditions import OrdersFlow
from bonus_airflow.operations.health import BROKEN, GONE, SLOW, STARTING_PATIENCE_S, Finding, HealthLook, Thresholds
from bonus_airflow.operations.health_record import RESTARTS_COUNT_FOR_S, HealthRecord
from bonus_airflow.operations.parts import Part
from bonus_airflow.operations.watched import WatchedPipeline
from bonus_airflow.tests.fakes import FakeBackend

THRESHOLDS = Thresholds(
    unhealthy_seconds=30,
    slow_seconds=20,
    max_lag_seconds=30,
    max_watermark_age_seconds=60,
    max_dead_letter_share=0.05,
    max_sink_delay_seconds=60,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 5000.0

    def __call__(self) -> float:
        return self.now_s


class Looking:
    """Looks at a fake pipeline by a clock that a test moves."""

    def __init__(self, **totals: int) -> None:
        self.backend = FakeBackend()
        self.clock = Clock()
        self._look = HealthLook(self.backend, thresholds=asdict(THRESHOLDS), totals=totals, now_s=self.clock)

    def after(self, seconds: float) -> tuple[list[str], list[tuple[str, str]]]:
        """What is pending, and the findings' parts and kinds."""
        self.clock.now_s += seconds
        pending = self._look.look()
        return pending, [(each["part"], each["kind"]) for each in self._look.result()["findings"]]

    def finding(self) -> Finding:
        (finding,) = self._look.result()["findings"]
        return Finding(**finding)

    def totals(self) -> dict[str, int]:
        totals: dict[str, int] = self._look.result()["totals"]
        return totals

    def result_survives_json(self) -> bool:
        result = self._look.result()
        return bool(json.loads(json.dumps(result)) == result)


def looking_at(parts: list[Part]) -> Looking:
    """At a pipeline of these parts, which the test may change."""
    looking = Looking()
    looking.backend.parts = lambda: parts  # type: ignore[method-assign]
    return looking


def test_a_healthy_pipeline_takes_one_check() -> None:
    looking = Looking()
    assert looking.after(0) == ([], [])
    assert looking.result_survives_json()


def test_a_part_is_broken_once_it_has_been_unhealthy_for_long_enough() -> None:
    looking = Looking()
    looking.backend.problems["processor-2"] = "unhealthy: no answer"
    assert looking.after(0) == (["processor-2 to get well (unhealthy: no answer)"], [])
    assert looking.after(29)[1] == []
    assert looking.after(1) == ([], [("processor-2", BROKEN)])
    assert looking.finding().since_s == 5000.0
    assert "processor-2 is broken since 1970-01-01T01:23:20+00:00: unhealthy: no answer" in looking.finding().text()
    assert looking.result_survives_json()


def test_a_part_that_recovers_by_itself_is_not_a_finding() -> None:
    looking = Looking()
    looking.backend.problems["processor-2"] = "exited"
    looking.after(0)
    looking.backend.problems["processor-2"] = ""
    assert looking.after(29) == ([], [])
    looking.backend.problems["processor-2"] = "exited"
    assert looking.after(1)[0], "its patience begins again"


def test_with_kafka_broken_only_kafka_is() -> None:
    looking = Looking()
    looking.backend.problems = dict.fromkeys(looking.backend.problems, "unhealthy: no progress")
    looking.after(0)
    assert looking.after(30) == ([], [("kafka", BROKEN)])


def test_a_kafka_that_starts_is_not_broken_and_hides_the_services() -> None:
    """In the recovery of its log it takes a minute or two, which a restart would begin anew."""
    parts = [Part("kafka", "kafka", "starting", is_starting=True), Part("sink", "sink", "unhealthy: no progress")]
    looking = looking_at(parts)
    for _ in range(3):
        assert looking.after(60) == (["kafka to get well (starting)"], [])
    parts[0] = Part("kafka", "kafka", "")
    assert looking.after(1) == (["sink to get well (unhealthy: no progress)"], [])
    parts[1] = Part("sink", "sink", "")
    assert looking.after(29) == ([], [])


def test_a_part_that_starts_does_not_delay_the_restart_of_a_broken_one() -> None:
    parts = [Part("kafka-2", "kafka-2", "starting", is_starting=True), Part("kafka-3", "kafka-3", "unhealthy")]
    looking = looking_at(parts)
    looking.after(0)
    assert looking.after(30) == ([], [("kafka-3", BROKEN)])


def test_a_part_whose_start_has_failed_is_broken() -> None:
    parts = [Part("kafka", "kafka", "starting", is_starting=True)]
    looking = looking_at(parts)
    looking.after(0)
    assert looking.after(170)[1] == []
    parts[0] = Part("kafka", "kafka", "unhealthy: unhealthy")
    assert looking.after(2) == ([], [("kafka", BROKEN)])


def test_a_part_that_starts_again_and_again_is_broken() -> None:
    parts = [Part("sink", "sink", "starting", is_starting=True)]
    looking = looking_at(parts)
    looking.after(0)
    assert looking.after(STARTING_PATIENCE_S - 1)[1] == []
    assert looking.after(1) == ([], [("sink", BROKEN)])
    # Seen between two starts.
    looking = looking_at(parts)
    looking.after(0)
    assert looking.after(29)[1] == []
    parts[0] = Part("sink", "sink", "restarting, last exit code 1")
    assert looking.after(1) == ([], [("sink", BROKEN)])


def test_a_pipeline_that_has_gone_is_not_broken() -> None:
    looking = Looking()
    looking.backend.running = False
    looking.after(0)
    assert looking.after(30) == ([], [("the pipeline", GONE)])


@pytest.mark.parametrize(
    ("part", "change", "patience_s"),
    [
        ("processor", {"stages": {"processor": {"lag": 9000, "behind_s": 31.0}}}, 20),
        ("analytics", {"stages": {"analytics": {"lag": 9000, "behind_s": None}}}, 20),
        ("sink", {"output_lags": {"file": 5}}, 60),
        ("sink", {"output_lags": {"database": 5}}, 60),  # also if it was never written: the stage has no lag then
        ("event time", {"event_time": {"watermark_s": 939.0, "idle": False}}, 20),
        ("orders", {"dead_letters": {"count": 11}}, 0),
    ],
)
def test_a_slow_part(part: str, change: dict[str, dict[str, object]], patience_s: float) -> None:
    looking = Looking()
    for name, value in change.items():
        looking.backend.snapshot_data[name] = (
            looking.backend.snapshot_data[name] | value if isinstance(value, dict) else value
        )
    if patience_s:
        assert looking.after(0)[1] == []
        assert looking.after(patience_s - 1)[1] == []
        assert looking.after(1) == ([], [(part, SLOW)])
    else:
        assert looking.after(0) == ([], [(part, SLOW)])


def test_a_lag_below_the_threshold_is_not_reported_as_slow() -> None:
    looking = Looking()
    looking.backend.snapshot_data["stages"]["processor"] = {"lag": 9000, "behind_s": 29.0}
    looking.backend.snapshot_data["event_time"] = {"watermark_s": 100.0, "idle": True}
    assert looking.after(0) == ([], [])


def test_dead_letters_are_counted_since_the_last_look() -> None:
    looking = Looking(orders=950, dead_letters=1)
    looking.backend.snapshot_data["orders"] = {"count": 1000, "written": 1000}
    looking.backend.snapshot_data["dead_letters"] = {"count": 12}  # 11 of the last 50, but 12 of 1000
    assert looking.after(0) == ([], [("orders", SLOW)])


@pytest.mark.parametrize(("new_letters", "found"), [(14, []), (16, [("orders", SLOW)])])
def test_orders_deleted_by_retention_do_not_change_the_share_of_dead_letters(
    new_letters: int, found: list[tuple[str, str]]
) -> None:
    looking = Looking(orders=1000, dead_letters=10)
    looking.backend.snapshot_data["orders"] = {"count": 500, "written": 1300}
    looking.backend.snapshot_data["dead_letters"] = {"count": 10 + new_letters}
    assert looking.after(0) == ([], found)


def test_a_few_dead_letters_of_few_orders_are_not_reported() -> None:
    looking = Looking(orders=80, dead_letters=0)
    looking.backend.snapshot_data["dead_letters"] = {"count": 10}
    assert looking.after(0) == ([], [])


def test_dead_letters_of_a_backlog_are_a_share_of_what_was_processed() -> None:
    looking = Looking()
    looking.backend.snapshot_data["orders"] = {"count": 30_000, "written": 30_000}
    looking.backend.snapshot_data["stages"]["processor"] = {"lag": 27_000, "behind_s": 10.0}
    looking.after(0)
    looking = Looking(**looking.totals())
    looking.backend.snapshot_data["orders"] = {"count": 33_000, "written": 33_000}
    # Since then 30,000 orders were processed, and 3,000 written.
    looking.backend.snapshot_data["dead_letters"] = {"count": 600}
    assert looking.after(0) == ([], [])


def test_an_exited_part_is_not_also_reported_as_slow() -> None:
    looking = Looking()
    looking.backend.problems["processor-1"] = "exited"
    looking.backend.snapshot_data["event_time"] = {"watermark_s": 0.0, "idle": False}
    looking.after(0)
    assert looking.after(30) == ([], [("processor-1", BROKEN)])


def test_restarts_count_for_an_hour() -> None:
    record = HealthRecord()
    record.add_restart("sink", 0.0)
    record.add_restart("sink", 60.0)
    record.add_restart("processor-1", 60.0)
    assert record.restarts_of("sink", 61.0) == 2
    assert record.restarts_of("sink", RESTARTS_COUNT_FOR_S) == 1
    assert record.restarts_of("sink", RESTARTS_COUNT_FOR_S + 60) == 0


def test_restarts_since_a_moment_have_their_results(tmp_path: Path) -> None:
    record = HealthRecord()
    record.add_restart("sink", 0.0).failure = None
    record.add_restart("sink", 60.0).failure = "not healthy"
    record.add_restart("processor-1", 70.0).failure = None
    record.add_restart("processor-2", 70.0)
    record.add_restart("processor-3", 70.0).failure = ""  # its command has printed nothing
    record.save(tmp_path / "record.json")
    record = HealthRecord.load(tmp_path / "record.json")
    assert record.restarts_since(60.0) == [
        "restart 2 of sink failed (not healthy)",
        "restart 1 of processor-1",
        "restart 1 of processor-2 failed (it did not end)",
        "restart 1 of processor-3 failed ()",
    ]
    assert record.restarts_since(71.0) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"restarts": {"sink": [60.0]}, "wrong": {}, "totals": {}}'])
def test_an_unreadable_record_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    assert HealthRecord.load(tmp_path / "record.json") == HealthRecord()


def test_what_was_not_looked_at_is_not_resolved() -> None:
    record = HealthRecord()
    slow = Finding("event time", SLOW, "the watermark is 90 s old", 10.0)
    broken = Finding("sink", BROKEN, "exited", 20.0)
    record.take([slow])
    assert record.take([broken]) == ([broken], [broken], [])
    assert record.take([slow]) == ([slow], [], ["sink broken"])
    unknown = Finding("live", SLOW, "the live page waits for Kafka", 30.0)
    assert record.take([unknown]) == ([unknown], [unknown], [])
    assert record.take([slow]) == ([slow], [], ["live slow"])
    assert record.take([]) == ([], [], ["event time slow"])


def test_with_kafka_stopped_nothing_is_restarted() -> None:
    """The services are unwell because of it."""
    parts = [Part("kafka", "kafka", "", is_stopped=True), Part("sink", "sink", "unhealthy"), Part("live", "live", "")]
    looking = looking_at(parts)
    looking.after(0)
    assert looking.after(30) == ([], [("kafka", GONE)])
    parts[1:] = [Part("sink", "sink", "", is_stopped=True)]
    assert looking.after(0) == ([], [])


def test_a_kafka_that_waits_for_zookeeper_to_start_has_not_gone() -> None:
    """`docker compose up` after `docker compose stop`."""
    parts = [Part("zookeeper", "zookeeper", "starting", is_starting=True)]
    parts += [Part(name, name, "", is_stopped=True) for name in ("kafka", "sink")]
    parts.append(Part("analytics", "analytics", "created, and not started yet", is_starting=True))
    looking = looking_at(parts)
    looking.after(0)
    assert looking.after(60) == (["zookeeper to get well (starting)"], [])


def test_the_lag_of_an_output_that_is_no_longer_written_is_not_reported() -> None:
    looking = Looking()
    looking.backend.snapshot_data["output_lags"] = {"file": 0, "database": 70}
    looking.backend.outputs = ["file"]
    assert looking.after(0) == ([], [])
    looking.backend.outputs = ["database"]
    assert looking.after(0)[0] == ["sink to get well (70 metrics wait to be written)"]


def test_a_watched_pipeline_that_writes_no_database_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No group has offsets for the database, so the whole topic is its lag."""
    monkeypatch.delenv("SINK_OUTPUTS", raising=False)
    looking = Looking()
    looking.backend.snapshot_data["output_lags"] = {"file": 0, "database": 9}
    looking.backend.outputs = WatchedPipeline().written_outputs()
    assert looking.after(0) == ([], [])
    monkeypatch.setenv("SINK_OUTPUTS", "file,database")
    looking.backend.outputs = WatchedPipeline().written_outputs()
    assert looking.after(0)[0] == ["sink to get well (9 metrics wait to be written)"]


def test_a_finding_keeps_its_start_and_is_new_only_once() -> None:
    record = HealthRecord()
    told, new, gone = record.take([Finding("sink", BROKEN, "exited", 10.0)])
    assert (len(told), len(new), gone) == (1, 1, [])
    told, new, gone = record.take([Finding("sink", BROKEN, "unhealthy", 70.0)])
    assert told == [Finding("sink", BROKEN, "unhealthy", 10.0)]
    assert (new, gone) == ([], [])
    assert record.take([]) == ([], [], ["sink broken"])


def test_orders_flow_once_each_stage_has_moved() -> None:
    backend = FakeBackend()
    flow = OrdersFlow(backend)
    backend.snapshot_data["accepted"] = {"per_s": 0.0}
    assert flow.look() == [
        "generator: new orders in orders",
        "processor: orders accepted",
        "analytics: a window closed",
    ]
    backend.snapshot_data["orders"] = {"count": 90, "written": 140}  # retention has taken 50
    backend.snapshot_data["accepted"] = {"per_s": 20.0}
    assert flow.look() == ["analytics: a window closed"]
    backend.snapshot_data["metrics"] = {"count": 10}
    backend.snapshot_data["stages"]["sink"] = {"lag": 5}
    assert flow.look() == ["sink: metrics written"]
    backend.snapshot_data["stages"]["sink"] = {"lag": 0}
    assert flow.look() == []
    assert flow.result() == "40 orders came, 5 metrics were made and written"
