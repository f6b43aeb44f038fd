"""The sink's outputs run independently, and log their interruptions."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from libs.runtime.clock import SystemClock
from libs.runtime.errors import PipelineError
from libs.runtime.life_cycle import Context
from libs.runtime.service.health import Health
from libs.runtime.topics.rules import Cluster
from services.sink import consumer_loop
from services.sink import outputs as outputs_module
from services.sink.consumer_loop import OutputLoop
from services.sink.file.file_writer import FileWriter
from services.sink.file.metrics_file import MetricsFile
from services.sink.interruption_log import InterruptionLog
from services.sink.metrics_writer import OutputUnavailableError
from services.sink.output_health import OutputHealth
from services.sink.outputs import run_all
from services.sink.sink_metrics import OutputMetrics, SinkMetrics
from services.sink.sink_settings import SinkSettings


class Output:
    """Fails a number of times, then runs until it is stopped."""

    def __init__(self, stop: asyncio.Event, failures: int, error: Exception | None = None) -> None:
        self._stop = stop
        self._failures = failures
        self._error = error or PipelineError("no use", advice="mend it")
        self.running = asyncio.Event()

    async def run(self) -> None:
        if self._failures:
            self._failures -= 1
            raise self._error
        self.running.set()
        await self._stop.wait()


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def metrics() -> dict[str, OutputMetrics]:
    return SinkMetrics(CollectorRegistry(), "topic", ["file", "database"]).outputs


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "_TRY_AGAIN_S", 0.0)


async def test_a_failed_output_is_retried_while_the_other_runs(
    stop: asyncio.Event, metrics: dict[str, OutputMetrics], capsys: pytest.CaptureFixture[str]
) -> None:
    file, database = Output(stop, 0), Output(stop, 2)
    running = asyncio.create_task(run_all({"file": file, "database": database}, metrics, stop))
    await asyncio.gather(file.running.wait(), database.running.wait())
    stop.set()
    await running
    log_output = capsys.readouterr().out
    assert log_output.count("an output failed, the other one continues") == 2
    assert "mend it" in log_output
    assert metrics["database"].counts()["retries_failed"] == 2


async def test_the_failure_of_the_last_output_ends_the_sink(
    stop: asyncio.Event, metrics: dict[str, OutputMetrics]
) -> None:
    with pytest.raises(PipelineError, match="no use"):
        await run_all({"database": Output(stop, 1)}, metrics, stop)
    with pytest.raises(PipelineError, match="no use"):
        await run_all({"file": Output(stop, 9), "database": Output(stop, 9)}, metrics, stop)


async def test_a_defect_in_one_output_ends_both(stop: asyncio.Event, metrics: dict[str, OutputMetrics]) -> None:
    broken = Output(stop, 1, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        await run_all({"file": Output(stop, 0), "database": broken}, metrics, stop)


def test_health_names_the_interrupted_output() -> None:
    now_s = 0.0
    health = Health(lambda: now_s)
    file, database = OutputHealth(health, "file"), OutputHealth(health, "database")
    file.connected()
    database.connected()
    health.forget("started")
    database.written()
    now_s = 31.0
    file.connected()
    healthy, report = health.report()
    assert not healthy
    assert report["reason"] == "no progress: database connected, database written"
    database.standing_by()
    assert health.report()[0]
    database.taking_over()
    assert health.report()[1]["seconds_since"] == {"file connected": 0.0, "database connected": 0.0}


class RefusedWriter(FileWriter):
    async def acquire(self) -> bool:
        raise PipelineError("no rights", advice="grant them")


async def test_an_output_that_fails_again_and_again_is_not_healthy(
    stop: asyncio.Event, metrics: dict[str, OutputMetrics], tmp_path: Path
) -> None:
    now_s = 0.0
    health = Health(lambda: now_s)
    context = Context(SinkSettings(), Cluster("cluster", {}), health, SystemClock(), CollectorRegistry(), stop)
    sink = OutputLoop[Any](
        context, RefusedWriter(MetricsFile(tmp_path / "metrics.json", "topic")), metrics["file"], "sink"
    )
    health.forget("started")
    for _ in range(3):
        with pytest.raises(PipelineError, match="no rights"):
            await sink.run()
        now_s += 15.0
    assert health.report()[1]["reason"] == "no progress: file connected"


class StandbyWriter(FileWriter):
    """Another sink writes the output, then it is unavailable, then it is free."""

    def __init__(self, file: MetricsFile) -> None:
        super().__init__(file)
        self._answers = iter((False, OutputUnavailableError("no answer"), False, OutputUnavailableError("again"), True))

    async def acquire(self) -> bool:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_standby_that_takes_over_after_an_error_is_a_standby_no_longer(
    stop: asyncio.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def ensured(*_: object) -> None:
        stop.set()

    monkeypatch.setattr(consumer_loop, "_STANDBY_POLL_S", 0.0)
    monkeypatch.setattr(consumer_loop, "ensure_topics", ensured)
    health, registry = Health(lambda: 0.0), CollectorRegistry()
    output_metrics = SinkMetrics(registry, "topic", ["file"]).outputs["file"]
    context = Context(SinkSettings(), Cluster("cluster", {}), health, SystemClock(), registry, stop)
    sink = OutputLoop[Any](
        context, StandbyWriter(MetricsFile(tmp_path / "metrics.json", "topic")), output_metrics, "sink"
    )
    health.forget("started")
    await sink.run()
    assert health.report()[1]["seconds_since"] == {"file connected": 0.0}
    assert registry.get_sample_value("pipeline_standby", {"output": "file"}) == 0
    log_output = capsys.readouterr().out
    assert log_output.count("standing by") == log_output.count("taking over") == 1


def test_an_interruption_is_logged_once_a_minute_and_for_each_new_error_and_its_end_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now_s = 0.0
    interruption_log = InterruptionLog("database", lambda: now_s)
    interruption_log.resolved()
    for second in range(100):
        now_s = float(second)
        interruption_log.interrupted(OSError("refused"), 0.2)
    interruption_log.interrupted(OSError("starting up"), 0.2)
    interruption_log.resolved()
    interruption_log.resolved()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[1].split()[0] for line in lines] == ["interrupted"] * 3 + ["works"]
    assert ["refused" in line for line in lines] == [True, True, False, False]
    assert "starting up" in lines[2]
    assert "after_s=99.0" in lines[3]
