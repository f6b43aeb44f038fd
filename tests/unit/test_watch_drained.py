"""`watch.drained` with fake HTTP endpoints: the reasons why a pipeline is not drained."""

import contextlib
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.integration.services import ROOT
from tests.unit.test_watch_state import observation
from watch.drained import main, written_outputs
from watch.state import State

POLL_S = 0.01  # a server that is shut down ends at its next poll


class Pipeline:
    """Responds like the live page and one replica of the analytics; each response has a newer observation of Kafka."""

    def __init__(self) -> None:
        self.stages = {group: {"lag": 0, "blocked": 0} for group in ("processor", "analytics", "sink")}
        self.output_lags = {"file": 0, "database": 0}
        self.waiting_for = ""
        self.open_windows = 0
        self.partitions = 2
        self.on_look: Any = lambda number: None
        self.on_metrics: Any = lambda: None
        self._looks = 0
        pipeline = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = pipeline.answer(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                """Requests are not logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(POLL_S,), daemon=True).start()

    def answer(self, path: str) -> str:
        if path == "/metrics":
            self.on_metrics()
            return (
                "# HELP pipeline_state_entries open windows\n# TYPE pipeline_state_entries gauge\n"
                f'pipeline_state_entries{{topic="processed-orders",partition="0"}} {self.open_windows}.0\n'
                'pipeline_state_entries{topic="processed-orders",partition="1"} 0.0\n'
                "pipeline_state_entries_total 99.0\n"
            )
        self._looks += 1
        self.on_look(self._looks)
        return json.dumps(
            {
                "waiting_for": self.waiting_for,
                "stages": self.stages,
                "database_lag": None,
                "output_lags": self.output_lags,
                "event_time": {"partitions": self.partitions},
                "seen_at_s": float(self._looks),
            }
        )

    def drained(self, *arguments: str) -> tuple[int, list[str]]:
        command = ["drained", "--live", self.url, "--analytics", self.url, "--json", "--timeout", "0", *arguments]
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
            patch.setattr(sys, "argv", command)
            exit_code = main()
        result = json.loads(printed.getvalue())
        assert result["drained"] == (not result["waiting_for"])
        return exit_code, result["waiting_for"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def default_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SINK_OUTPUTS", raising=False)


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline()
    yield pipeline
    pipeline.close()


def test_a_pipeline_without_lag_and_open_windows_is_drained(pipeline: Pipeline) -> None:
    assert pipeline.drained() == (0, [])


def test_each_stage_with_lag_is_reported(pipeline: Pipeline) -> None:
    pipeline.stages["analytics"]["lag"] = 1200
    pipeline.output_lags["file"] = 3
    assert pipeline.drained() == (1, ["analytics to read 1,200 records", "sink to read 3 records"])


@pytest.mark.parametrize("group", ["processor", "analytics", "sink"])
def test_records_behind_an_open_transaction_are_reported(pipeline: Pipeline, group: str) -> None:
    """A producer has died in it: lag ends where it begins."""
    pipeline.stages[group]["blocked"] = 2000
    code, waiting_for = pipeline.drained()
    assert code == 1
    assert waiting_for == [
        f"{group} to read 2,000 records behind an open transaction (`pipeline doctor` finds one that stays open)"
    ]


def test_the_transactions_of_a_stage_at_work_are_not_reported(pipeline: Pipeline) -> None:
    pipeline.stages["analytics"] |= {"lag": 30, "blocked": 12}
    assert pipeline.drained() == (1, ["analytics to read 30 records"])


def test_an_open_window_is_reported(pipeline: Pipeline) -> None:
    pipeline.open_windows = 4
    assert pipeline.drained() == (1, ["4 open windows, counted by product"])


def test_a_partition_whose_state_is_not_restored_yet_is_reported(pipeline: Pipeline) -> None:
    """Its open windows are not known."""
    pipeline.partitions = 6
    assert pipeline.drained() == (1, ["the analytics to restore its state of 4 partitions"])


def test_metrics_created_during_the_check_must_be_written_first(pipeline: Pipeline) -> None:
    """The last window closes after the first response about the lag, which therefore does not include its metrics."""

    def close_window() -> None:
        pipeline.output_lags["file"] = 5

    pipeline.on_metrics = close_window
    assert pipeline.drained() == (1, ["sink to read 5 records"])


def test_an_observation_that_began_before_the_check_is_not_used(pipeline: Pipeline) -> None:
    """The last order came after it. It is then processed during the check, in which its window opens."""

    def arrive(look: int) -> None:
        pipeline.stages["processor"]["lag"] = 1 if look > 2 else 0

    def process() -> None:
        pipeline.on_look = lambda _: None
        pipeline.stages["processor"]["lag"] = 0

    pipeline.on_look, pipeline.on_metrics = arrive, process
    assert pipeline.drained() == (1, ["processor to read 1 records"])


def test_the_lag_of_the_database_is_reported(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINK_OUTPUTS", "file, Database")
    pipeline.output_lags["database"] = 2
    assert pipeline.drained() == (1, ["sink to write 2 metrics to the database"])


def test_an_output_that_is_no_longer_written_is_not_waited_for(pipeline: Pipeline) -> None:
    """SINK_OUTPUTS has changed since: the offsets of its group stay where they were."""
    pipeline.output_lags["database"] = 2
    assert pipeline.drained("--outputs=file") == (0, [])
    pipeline.stages["sink"]["lag"] = pipeline.output_lags["file"] = 3
    assert pipeline.drained("--outputs=file") == (1, ["sink to read 3 records"])
    assert pipeline.drained("--outputs=Database") == (1, ["sink to write 2 metrics to the database"])
    pipeline.output_lags["database"] = 0
    assert pipeline.drained("--outputs=database") == (0, [])


@pytest.mark.parametrize(
    ("output", "waiting_for"),
    [("database", "sink to write 9 metrics to the database"), ("file", "sink to read 9 records")],
)
def test_an_output_that_was_never_written_lacks_every_metric(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, output: str, waiting_for: str
) -> None:
    """Its group has no offsets: it has failed since its first start, or a recompute has deleted them with the topic."""
    written = "file" if output == "database" else "database"
    state = State(60)
    ends = {**observation().ends, "product-metrics": {0: 9}}
    state.apply(observation(ends=ends, by_output={written: {0: 9}, output: {}}))
    pipeline.output_lags = state.output_lags
    monkeypatch.setenv("SINK_OUTPUTS", written)
    assert pipeline.drained() == (0, [])
    monkeypatch.setenv("SINK_OUTPUTS", "file,database")
    assert pipeline.drained() == (1, [waiting_for])
    assert pipeline.drained(f"--outputs={output}") == (1, [waiting_for])
    assert pipeline.drained(f"--outputs={written}") == (0, [])


@pytest.mark.parametrize(
    ("existing", "outputs"),
    [([], ["file"]), (["sink-database", "database"], ["database", "file"]), (["database"], ["database", "file"])],
)
def test_the_database_is_written_if_there_is_a_sink_for_it(
    monkeypatch: pytest.MonkeyPatch, existing: list[str], outputs: list[str]
) -> None:
    """The sink of Compose's profile `database` has a SINK_OUTPUTS of its own."""

    def getaddrinfo(host: str, _: object) -> None:
        if host not in existing:
            raise socket.gaierror(host)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert written_outputs() == outputs


@pytest.mark.parametrize("arguments", [["--outputs", "file, databse"], []])
def test_an_unknown_output_is_refused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Otherwise no output would be waited for."""
    monkeypatch.setenv("SINK_OUTPUTS", "databse")
    command = [sys.executable, "-m", "watch.drained", "--live", pipeline.url, "--timeout", "0", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'databse': file and database are allowed" in done.stderr


def test_an_unreachable_pipeline_is_not_drained(pipeline: Pipeline) -> None:
    pipeline.waiting_for = "the broker at 127.0.0.1:9092"
    assert pipeline.drained() == (1, ["the broker at 127.0.0.1:9092"])
    pipeline.waiting_for = ""
    pipeline.close()
    code, waiting_for = pipeline.drained()
    assert code == 1
    assert "an answer of the live page" in waiting_for[0]
