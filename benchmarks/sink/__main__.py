"""``python -m benchmarks.sink``: the sink's speed for each output, compared with the bare call.

Both run one after the other on the same machine: only the ratios can be compared with other machines.
"""

# ruff: noqa: S603 - this file starts the sink

import argparse
import asyncio
import itertools
import os
import pstats
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.process_figures import cpu_seconds, peak_bytes
from benchmarks.sink.bare import copy_seconds, executemany_seconds
from benchmarks.sink.topic import fill, metrics
from libs.events.product_metrics import MetricRow
from local.broker import LocalBroker
from local.ports import free_ports
from tests.databases.postgresql import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
OUTPUTS = ("postgresql", "sqlite", "file")
_POLL_S = 0.25  # each request costs the sink some milliseconds; the times are measured by the sink itself
_PROFILED_LINES = 15
_NAMES = (
    "pipeline_metrics_written_total",
    "pipeline_write_duration_seconds_count",
    "pipeline_checkpoint_timestamp_seconds",
)
_SERIES = re.compile(rf'^({"|".join(_NAMES)})\{{output="\w+"\}} (\S+)', re.MULTILINE)


class Run(NamedTuple):
    """A run of the sink from its first metric to its last: speed, CPU time, peak memory, and size of its writes."""

    per_s: float
    cpu_us: float
    peak_mb: float
    rows_a_write: float


def sink(bootstrap: str, count: int, env: dict[str, str], profile: Path | None = None) -> Run:
    """Start a sink, and measure it until it has written everything; with ``profile``, write cProfile's statistics there."""
    (port,) = free_ports(1)
    settings = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "HTTP_PORT": str(port), "LOG_LEVEL": "warning"}
    profiler = ["-m", "cProfile", "-o", str(profile)] if profile else []
    process = subprocess.Popen(
        [sys.executable, *profiler, ROOT / "services" / "sink" / "data_sink.py"], env=os.environ | settings | env
    )
    try:
        first: Sample | None = None
        while True:
            sample = Sample.of(process.pid, port)
            first = first or (sample if sample.written else None)
            if first and sample.written >= count:
                counted = sample.written - first.written
                return Run(
                    counted / (sample.at_s - first.at_s),
                    1e6 * (sample.cpu_s - first.cpu_s) / counted,
                    peak_bytes(process.pid) / 2**20,
                    sample.written / sample.writes,
                )
            if process.poll() is not None:
                raise RuntimeError(f"the sink ended with {process.returncode}")
            time.sleep(_POLL_S)
    finally:
        process.terminate()
        process.wait(30)


class Sample(NamedTuple):
    """A sink's written metrics, number of writes, time of the last write, and CPU time at about that time."""

    written: float
    writes: float
    at_s: float
    cpu_s: float

    @classmethod
    def of(cls, pid: int, port: int) -> "Sample":
        """A sample from ``/metrics``; all zero while the sink does not respond."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                found = dict(_SERIES.findall(answer.read().decode()))
        except OSError:
            found = {}
        written, writes, at_s = (float(found.get(name, 0)) for name in _NAMES)
        return cls(written, writes, at_s, cpu_seconds(pid))


class Result(NamedTuple):
    """A run of the sink, and its speed relative to the bare call: by time, and by CPU time of database and client together.

    On a machine with other load only the second one is reproducible.
    """

    run: Run
    of_bare: float
    of_bare_by_cpu: float


class Comparison:
    """Compares the sink with the bare call; each run has its own database or file."""

    def __init__(self, bootstrap: str, server: PostgresServer, scratch: Path, rows: list[MetricRow]) -> None:
        self._bootstrap = bootstrap
        self._server = server
        self._scratch = scratch
        self._rows = rows
        self._number = 0

    def sink(self, output: str, profile: Path | None = None) -> Run:
        """The sink alone."""
        self._number += 1
        env = {
            "postgresql": lambda: {
                "SINK_OUTPUTS": "database",
                "SINK_DATABASE_URL": self._server.create_database(f"sink{self._number}"),
            },
            "sqlite": lambda: {
                "SINK_OUTPUTS": "database",
                "SINK_DATABASE_URL": f"sqlite:///{self._scratch}/sink{self._number}.db",
            },
            "file": lambda: {"SINK_OUTPUT_PATH": str(self._scratch / f"metrics{self._number}.json")},
        }
        return sink(self._bootstrap, len(self._rows), env[output](), profile)

    def both(self, output: str) -> "Result":
        """The sink, then the bare call with transactions of the same size as the sink's."""
        server_s = self._server_cpu_seconds()
        run = self.sink(output)
        server_s = self._server_cpu_seconds() - server_s
        size, rows = round(run.rows_a_write), self._rows
        bare_server_s, own_s = self._server_cpu_seconds(), time.process_time()
        if output == "postgresql":
            bare_s = copy_seconds(self._server.create_database(f"bare{self._number}"), rows, size)
        elif output == "sqlite":
            bare_s = executemany_seconds(self._scratch / f"bare{self._number}.db", rows, size)
        else:
            return Result(run, 0.0, 0.0)
        bare_cpu_s = time.process_time() - own_s + self._server_cpu_seconds() - bare_server_s
        cpu_s = 1e-6 * run.cpu_us * len(rows) + server_s
        return Result(run, run.per_s * bare_s / len(rows), bare_cpu_s / cpu_s)

    def _server_cpu_seconds(self) -> float:
        """The CPU time of PostgreSQL: the server and its processes, including ended ones."""
        pid = self._server.pid
        others = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return sum(cpu_seconds(each, ended_too=True) for each in [pid, *map(int, others)])


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink", description=__doc__)
    parser.add_argument("--metrics", type=int, default=300_000, help="how many (300000)")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many rounds (3)")
    parser.add_argument("--only", choices=OUTPUTS, help="this output")
    parser.add_argument("--profile", action="store_true", help="then once more under cProfile, and where the time went")
    arguments = parser.parse_args()
    rows, console = metrics(arguments.metrics), Console(width=120)
    outputs = [arguments.only] if arguments.only else OUTPUTS
    found: dict[str, list[Result]] = {name: [] for name in outputs}
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "kafka") as broker,
        PostgresServer() as server,
    ):
        asyncio.run(fill(broker.bootstrap_servers, rows))
        comparison = Comparison(broker.bootstrap_servers, server, Path(scratch), rows)
        for number, name in itertools.product(range(arguments.rounds), outputs):
            result = comparison.both(name)
            found[name].append(result)
            console.print(
                f"round {number + 1}, {name}: {result.run.per_s:,.0f} metrics/s, {result.of_bare:.2f} of the bare call"
            )
        console.print(table(found))
        for name in outputs if arguments.profile else ():
            comparison.sink(name, profile := Path(scratch) / f"{name}.profile")
            console.rule(name)
            if profile.exists():
                pstats.Stats(str(profile)).sort_stats("tottime").print_stats(_PROFILED_LINES)
            else:
                console.print("no profile: a thread was still at work when the sink ended")


def table(found: Mapping[str, Sequence[Result]]) -> Table:
    """The medians of all rounds."""
    made = Table("output", "metrics/s", "of the bare call", "by CPU", "CPU, µs a metric", "peak MB", "metrics a write")
    for name, results in found.items():
        shares = [
            statistics.median(column)
            for column in ([each.of_bare for each in results], [each.of_bare_by_cpu for each in results])
        ]
        runs = [each.run for each in results]
        per_s, cpu_us, peak_mb, per_write = (statistics.median(run[column] for run in runs) for column in range(4))
        shown = [f"{share:.2f}" if share else "" for share in shares]
        made.add_row(name, f"{per_s:,.0f}", *shown, f"{cpu_us:.1f}", f"{peak_mb:.0f}", f"{per_write:,.0f}")
    return made


if __name__ == "__main__":
    main()
