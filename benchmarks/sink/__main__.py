"""``python -m benchmarks.sink``: from ``product-metrics`` into each output, and how that compares with the bare call.

One after the other in one run, on the same machine: only the ratios mean anything elsewhere.
"""

# ruff: noqa: S603 - starting the sink is what this file is for

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table

from benchmarks.sink.bare import copy_seconds, executemany_seconds
from libs.events.money import mean_cents
from libs.events.product_metrics import MetricRow, ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from libs.runtime.broker import ensure_topics
from libs.runtime.settings import ServiceSettings
from local.broker import LocalBroker
from local.ports import free_ports
from tests.databases.postgresql import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.02
_WRITTEN = re.compile(r'^pipeline_metrics_written_total\{output="\w+"\} (\S+)', re.MULTILINE)


class Run(NamedTuple):
    """One sink from its first metric to its last: metrics and CPU seconds in between, and its peak memory."""

    per_s: float
    cpu_us: float
    peak_mb: float


def metrics(count: int) -> list[MetricRow]:
    """Five products, minute by minute."""
    made = []
    for number in range(count):
        start, cents = 1_700_000_040 + 60 * (number // 5), 100_000 + number
        made.append(MetricRow(start, start + 60, f"prod-{number % 5}", 45, cents, mean_cents(cents, 45)))
    return made


async def fill(bootstrap: str, rows: list[MetricRow]) -> None:
    """Write the topic."""
    await ensure_topics(ServiceSettings(kafka_bootstrap_servers=bootstrap), [PRODUCT_METRICS])
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=256 * 1024, linger_ms=20)
    await producer.start()
    try:
        for row in rows:
            value = encode_metric(ProductMetric(*row[:5]))
            await producer.send(PRODUCT_METRICS.name, value, partition=int(row.product_id[-1]))
    finally:
        await producer.stop()


def sink(bootstrap: str, count: int, env: dict[str, str]) -> Run:
    """Start a sink, and measure it until it has written everything."""
    (port,) = free_ports(1)
    settings = {"KAFKA_BOOTSTRAP_SERVERS": bootstrap, "HTTP_PORT": str(port), "LOG_LEVEL": "warning"}
    process = subprocess.Popen(
        [sys.executable, ROOT / "services" / "sink" / "data_sink.py"], env=os.environ | settings | env
    )
    try:
        first: tuple[float, float, float] | None = None
        while True:
            written, now_s, cpu_s = _written(port), time.perf_counter(), _cpu_seconds(process.pid)
            if written and first is None:
                first = (now_s, cpu_s, written)
            if first and written >= count:
                counted = written - first[2]
                cpu_us = 1e6 * (cpu_s - first[1]) / counted
                return Run(counted / (now_s - first[0]), cpu_us, _peak_mb(process.pid))
            if process.poll() is not None:
                raise RuntimeError(f"the sink ended with {process.returncode}")
            time.sleep(_POLL_S)
    finally:
        process.terminate()
        process.wait(30)


def _written(port: int) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = _WRITTEN.search(answer.read().decode())
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mb(pid: int) -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink", description=__doc__)
    parser.add_argument("--metrics", type=int, default=300_000, help="how many (300000)")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many rounds (3)")
    arguments = parser.parse_args()
    rows, console = metrics(arguments.metrics), Console(width=120)
    found: dict[str, list[tuple[Run, float]]] = {"postgresql": [], "sqlite": [], "file": []}
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalBroker(Path(scratch) / "kafka") as broker,
        PostgresServer() as server,
    ):
        asyncio.run(fill(broker.bootstrap_servers, rows))
        for number in range(arguments.rounds):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            bare = {
                "postgresql": copy_seconds(server.create_database(f"bare{number}"), rows),
                "sqlite": executemany_seconds(folder / "bare.db", rows),
                "file": 0.0,
            }
            outputs = {
                "postgresql": {
                    "SINK_OUTPUTS": "database",
                    "SINK_DATABASE_URL": server.create_database(f"sink{number}"),
                },
                "sqlite": {"SINK_OUTPUTS": "database", "SINK_DATABASE_URL": f"sqlite:///{folder}/sink.db"},
                "file": {"SINK_OUTPUT_PATH": str(folder / "metrics.json")},
            }
            for name, env in outputs.items():
                run = sink(broker.bootstrap_servers, len(rows), env)
                ratio = run.per_s * bare[name] / len(rows)
                found[name].append((run, ratio))
                console.print(f"round {number + 1}, {name}: {run.per_s:,.0f} metrics/s, {ratio:.2f} of the bare call")
    table = Table("output", "metrics/s", "of the bare call", "CPU, µs a metric", "peak MB")
    for name, runs in found.items():
        ratio = statistics.median(ratio for _, ratio in runs)
        figures = [statistics.median(run[column] for run, _ in runs) for column in range(3)]
        table.add_row(
            name, f"{figures[0]:,.0f}", f"{ratio:.2f}" if ratio else "", f"{figures[1]:.1f}", f"{figures[2]:.0f}"
        )
    console.print(table)


if __name__ == "__main__":
    main()
