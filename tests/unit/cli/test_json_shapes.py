"""The output of commands with --json."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.app import run
from cli.commands import doctor as doctor_command
from cli.commands import status as status_command
from cli.context import Origin, Outputs, PipelineContext
from cli.errors import NoPipelineError
from cli.stages import Stage, is_running, stages_json, stages_of, stages_table
from doctor.finding import Finding, ok, problem, warning
from libs.events.product_metrics import ProductMetric, encode_metric
from local.errors import LocalModeError, SilentSupervisorError
from local.settings import LocalSettings
from local.status import status_json
from local.supervision import Program
from tests.unit.cli.test_context import LOCAL
from watch.observation import Observation

START = 1_795_305_600


def printed_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out, parse_float=Decimal)


@pytest.mark.parametrize(
    ("error", "state"), [(NoPipelineError("none"), "stopped"), (LocalModeError("gone"), "unsupervised")]
)
def test_status_without_a_pipeline_succeeds_with_json_and_fails_otherwise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, state: str
) -> None:
    def no_pipeline(_: object) -> PipelineContext:
        raise error

    monkeypatch.setattr(status_command, "context_of", no_pipeline)
    assert run(["status", "--json"]) == 0
    assert printed_json(capsys) == {"state": state}
    assert run(["status"]) == 1


def test_a_supervisor_that_does_not_answer_is_an_error_also_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow stops what is `unsupervised`."""

    def silent(_: object) -> PipelineContext:
        raise SilentSupervisorError("it belongs to another user")

    monkeypatch.setattr(status_command, "context_of", silent)
    assert run(["status", "--json"]) == 1


def test_the_status_can_be_limited_to_local_mode(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_DIR", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "there:1")
    assert run(["status", "--json", "--local"]) == 0
    assert printed_json(capsys) == {"state": "stopped"}
    assert run(["status", "--local"]) == 1
    assert f"no pipeline is running in {tmp_path}" in capsys.readouterr().err


def test_local_mode_reports_each_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.status.kafka_answers", lambda _: True)
    monkeypatch.setattr("local.status.zookeeper_answers", lambda _: False)
    monkeypatch.setattr("local.status.health_of", lambda port: f"health at {port}")
    programs = [
        Program("processor-1", "RUNNING", 12, 1_000, 0),
        Program("kafka", "RUNNING", 11, 900, 0),
        Program("zookeeper", "RUNNING", 10, 800, 0),
        Program("generator", "EXITED", 0, 950, 3),
    ]
    status = status_json(LOCAL, programs)
    expected = {
        "state": "running",
        "directory": "/there/.local",
        "bootstrap_servers": "127.0.0.1:19092",
        "window_seconds": 2,
        "sink_outputs": ["file", "database"],
    }
    assert {name: status[name] for name in expected} == expected
    reported: Any = status["programs"]
    assert [each["name"] for each in reported] == ["zookeeper", "kafka", "generator", "processor-1"]
    assert reported[2] == {
        "name": "generator",
        "service": "generator",
        "state": "EXITED",
        "pid": 0,
        "started_at_s": 950,
        "exit_code": 3,
        "port": 18_080,
        "health": "health at 18080",
    }


def observed_state(processors: int, analytics: int) -> Observation:
    topics = ("orders", "processed-orders", "product-metrics")
    return Observation(
        at_s=0.0,
        begins={topic: {0: 0, 1: 0} for topic in topics},
        ends={topic: {0: 10, 1: 20} for topic in topics},
        committed={"orders": {0: 10, 1: 15}, "processed-orders": {0: 10, 1: 19}, "product-metrics": {}},
        members={"processor": processors, "analytics": analytics},
        marks=[],
        metrics=[],
        dead_letters={},  # type: ignore[arg-type]
        rejected=None,
        late=0,
        unread={},  # type: ignore[arg-type]
        cut_until_s=None,
    )


def test_stages_of_other_pipelines_have_replicas_and_lag() -> None:
    stages = stages_of(observed_state(processors=2, analytics=1))
    assert stages_json(stages) == [
        {"name": "processor", "replicas": 2, "lag": 5},
        {"name": "analytics", "replicas": 1, "lag": 0},
        {"name": "sink", "replicas": None, "lag": 30},
    ]
    assert is_running(stages)
    assert not is_running(stages_of(observed_state(processors=2, analytics=0)))
    assert stages_table(stages, "there").row_count == 3


def test_the_status_of_stages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    context = PipelineContext(Origin.COMPOSE, "localhost:9092", "mine.", 60, Outputs(None, None, None), Path())
    monkeypatch.setattr(status_command, "context_of", lambda _: context)
    stages = [Stage("processor", 2, 5), Stage("analytics", 0, 0), Stage("sink", None, 0)]
    monkeypatch.setattr("cli.kafka.run_in_kafka", lambda *_: stages)
    assert run(["status", "--json"]) == 0
    assert printed_json(capsys) == {
        "context": "Docker Compose",
        "state": "stopped",
        "bootstrap_servers": "localhost:9092",
        "topic_prefix": "mine.",
        "window_seconds": 60,
        "stages": stages_json(stages),
    }
    assert run(["status"]) == 1
    stages[1] = Stage("analytics", 1, 0)
    assert run(["status"]) == 0
    assert "analytics" in capsys.readouterr().out


def test_metrics_are_a_single_document_exact_to_the_cent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    metrics = [
        ProductMetric(START, START + 60, "prod-1", 2, 2**53),
        ProductMetric(START, START + 60, "prod-2", 1, 5),
    ]
    file.write_bytes(b"".join(encode_metric(each) + b"\n" for each in metrics))
    assert run(["metrics", "--json", "--source=file", "--file", str(file), "--by", "day"]) == 0
    document = printed_json(capsys)
    assert document == {
        "lines": [
            {
                "period": "2026-11-22T00:00:00Z",
                "product_id": product,
                "order_count": count,
                "total_revenue": Decimal(revenue),
                "avg_order_value": Decimal(average),
            }
            for product, count, revenue, average in (
                ("prod-1", 2, "90071992547409.92", "45035996273704.96"),
                ("prod-2", 1, "0.05", "0.05"),
            )
        ],
        "total": {
            "period": "total",
            "product_id": None,
            "order_count": 3,
            "total_revenue": Decimal("90071992547409.97"),
            "avg_order_value": Decimal("30023997515803.32"),
        },
    }


@pytest.mark.parametrize(
    ("finding", "exit_code"),
    [(ok("a", "fine"), 0), (warning("a", "may be", "do this"), 0), (problem("a", "is not", "do that"), 1)],
)
def test_the_doctor_prints_each_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], finding: Finding, exit_code: int
) -> None:
    monkeypatch.setattr(doctor_command, "_of_machine", lambda: [finding])
    monkeypatch.setattr(doctor_command, "_of_cluster", lambda *_: [])
    assert run(["doctor", "--json"]) == exit_code
    assert printed_json(capsys) == {
        "ok": exit_code == 0,
        "findings": [
            {"subject": "a", "level": finding.level, "message": finding.message, "advice": finding.advice},
        ],
    }
    assert run(["doctor"]) == exit_code
    shown = capsys.readouterr().out
    assert finding.message in shown
    assert finding.advice in shown


def test_metrics_are_read_from_the_running_pipelines_output_unless_the_environment_overrides_it() -> None:
    from cli.commands.metrics import sink_outputs  # noqa: PLC0415 - its name is the command's

    assert sink_outputs({}, None).file == Path("output/metrics.json")
    running: LocalSettings = LOCAL
    assert sink_outputs({"OUTPUT_DIR": "/folder"}, None).file == Path("/folder/metrics.json")
    assert sink_outputs({}, running).file == LOCAL.sink_output_path
    assert sink_outputs({"SINK_OUTPUT_PATH": "/mine.json"}, running).file == Path("/mine.json")
    assert sink_outputs({"SINK_OUTPUTS": "database"}, running).source == "database"
    assert sink_outputs({}, running).database_url == LOCAL.sink_database_url
