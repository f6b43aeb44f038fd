"""`daily_report` with a real scheduler on a pipeline with two days and an hour of history."""

import csv
import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from bonus_airflow.tests.airflow_processes import Airflow, eventually
from bonus_airflow.tests.local_pipeline import WINDOW_S, LocalPipeline

DAG = "daily_report"
HOUR_S = 3600
Totals = dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def history(shared_pipeline: LocalPipeline) -> Iterator[LocalPipeline]:
    """A pipeline with orders from three days ago until now, one in twenty seconds."""
    shared_pipeline.make_empty()
    since_s = midnight(datetime.now(UTC) - timedelta(days=2)) - 1800
    seconds = int(time.time() - since_s)
    # Without GENERATOR_COUNT: so many random gaps can end an hour too early.
    with shared_pipeline.with_settings(GENERATOR_BACKFILL_SECONDS=str(seconds), GENERATOR_RATE="0.05"):
        shared_pipeline.start()
    yield shared_pipeline
    shared_pipeline("down")


def midnight(day: datetime) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def truth(pipeline: LocalPipeline, from_s: float, to_s: float) -> Totals:
    """Orders and cents by product, added up from `orders`: of the windows that begin in that time."""
    server = f"127.0.0.1:{pipeline.settings['LOCAL_KAFKA_PORT']}"
    totals: Totals = {}
    with closing(
        Consumer({"bootstrap.servers": server, "group.id": "test-adds-up", "enable.auto.commit": False})
    ) as consumer:
        for number in range(6):
            _, end = consumer.get_watermark_offsets(TopicPartition("orders", number), timeout=30)
            consumer.assign([TopicPartition("orders", number, 0)])
            for _ in range(end):
                record = consumer.poll(30)
                assert record is not None
                assert not record.error()
                order = json.loads(record.value() or b"")
                if from_s <= order["timestamp"] // WINDOW_S * WINDOW_S < to_s:
                    count, cents = totals.get(order["product_id"], (0, 0))
                    totals[order["product_id"]] = count + 1, cents + round(order["amount"] * 100)
    return totals


def totals_in(report: Any) -> Totals:
    return {name: (each["order_count"], each["revenue_cents"]) for name, each in report["products"].items()}


def trigger(
    airflow: Airflow, folder: Path, span: str = "", partition_key: str | None = None, **params: object
) -> tuple[str, str]:
    conf = {"folder": str(folder), "span": span, **params}
    body = {"logical_date": None, "partition_key": partition_key, "conf": conf}
    run_id = airflow.post(f"/dags/{DAG}/dagRuns", body)["dag_run_id"]
    return run_id, airflow.await_run(DAG, run_id)


def newest_event(airflow: Airflow) -> tuple[str | None, int]:
    """Partition key and orders."""
    (event,) = airflow.get("/assets/events", order_by="-timestamp", limit=1)["asset_events"]
    return event["partition_key"], event["extra"]["order_count"]


def result(airflow: Airflow, run_id: str) -> Any:
    path = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/report/xcomEntries/return_value"
    return airflow.get(path, deserialize=True)["value"]


def test_an_hour_is_reported_and_a_planted_difference_fails(
    airflow: Airflow, history: LocalPipeline, tmp_path: Path
) -> None:
    from_s = time.time() // HOUR_S * HOUR_S - HOUR_S
    hour = f"{datetime.fromtimestamp(from_s, UTC):%Y-%m-%dT%H}"
    history("report", hour, "--folder", str(tmp_path / "by-hand"), "--wait", "240")
    run_id, state = trigger(airflow, tmp_path, hour)
    assert state == "success", airflow.failure_details(DAG, run_id)

    expected = truth(history, from_s, from_s + HOUR_S)
    assert len(expected) == 5
    # Airflow's JSON makes text of a key that is a number, and drops a decimal's scale: there are none.
    handed_on = result(airflow, run_id)
    assert totals_in(handed_on) == expected
    assert all(type(value) is int for each in handed_on["products"].values() for value in each.values())
    lines = list(csv.DictReader((tmp_path / f"report-{hour}.csv").read_text().splitlines()))
    assert {line["product_id"]: int(line["order_count"]) for line in lines[:-1]} == {
        product: count for product, (count, _) in expected.items()
    }
    assert handed_on["html"] == str(tmp_path / f"report-{hour}.html")
    assert "<svg" in (tmp_path / f"report-{hour}.html").read_text()
    assert newest_event(airflow) == (None, sum(count for count, _ in expected.values()))

    # An order more in the file, in the middle of that hour; a running sink would mend it.
    history("stop", "sink")
    text = history.metrics.read_text()
    planted = next(
        line for line in text.splitlines() if from_s + 1800 <= json.loads(line)["window_start"] < from_s + HOUR_S
    )
    metric = json.loads(planted)
    history.metrics.write_text(text.replace(planted, json.dumps(metric | {"order_count": metric["order_count"] + 1})))
    run_id, state = trigger(airflow, tmp_path, hour, wait_seconds=1)
    assert state == "failed"
    told = airflow.log_of(DAG, run_id, "report")
    assert "topic, file and database differ" in told
    start = f"{datetime.fromtimestamp(metric['window_start'], UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert f"{metric['product_id']}, window from {start}: topic: {metric['order_count']} orders" in told
    assert f"file: {metric['order_count'] + 1} orders" in told
    assert airflow.tasks_of(DAG, run_id)["report"]["try_number"] == 1, "to try again changes nothing"
    assert "NOT reconciled" in (tmp_path / f"report-{hour}.html").read_text()
    history.metrics.write_text(text)
    history("start", "sink")


def test_days_are_partitions_and_a_backfill_makes_a_report_of_each(
    airflow: Airflow, history: LocalPipeline, tmp_path: Path
) -> None:
    # Not yesterday: in the hours after midnight the scheduler has made a run of that, and a backfill skips it.
    days = [f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}" for ago in (3, 2)]
    history("report", days[-1], "--folder", str(tmp_path / "by-hand"), "--wait", "240")
    airflow.command(
        "backfill", "create", "--dag-id", DAG, "--from-date", days[0], "--to-date", days[-1],
        "--dag-run-conf", json.dumps({"folder": str(tmp_path)}),
    )  # fmt: skip

    def made() -> dict[str, Any]:
        runs = airflow.get(f"/dags/{DAG}/dagRuns", run_type="backfill", limit=100)["dag_runs"]
        assert all(each["state"] != "failed" for each in runs), [
            airflow.failure_details(DAG, each["dag_run_id"]) for each in runs
        ]
        return {each["partition_key"]: each for each in runs if each["state"] == "success"}

    eventually(lambda: made().keys() == set(days), f"a run for each of {days}")
    for day, run in made().items():
        from_s = midnight(datetime.fromisoformat(day))
        expected = truth(history, from_s, from_s + 24 * HOUR_S)
        assert expected
        assert totals_in(result(airflow, run["dag_run_id"])) == expected
        assert sum(count for count, _ in expected.values()) in {
            each["extra"]["order_count"]
            for each in airflow.get("/assets/events", limit=100)["asset_events"]
            if each["partition_key"] == day
        }
        assert {path.suffix for path in tmp_path.glob(f"report-{day}.*")} == {".html", ".csv", ".json"}


@pytest.mark.parametrize("span", ["yesterday", "2026-11-27T14:30", "../2026-11-27"])
def test_an_invalid_span_is_rejected_by_the_form(airflow: Airflow, span: str) -> None:
    assert "span" in airflow.refusal(f"/dags/{DAG}/dagRuns", {"logical_date": None, "conf": {"span": span}})


def test_a_run_by_hand_may_be_of_a_partition(airflow: Airflow, history: LocalPipeline, tmp_path: Path) -> None:
    day = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    run_id, state = trigger(airflow, tmp_path, span="2026-01-01", partition_key=day)
    assert state == "success", airflow.failure_details(DAG, run_id)
    assert result(airflow, run_id)["span"] == day
    assert newest_event(airflow)[0] == day
