"""``python -m benchmarks.latency``: runs the services on their own broker with live traffic, and measures two latencies."""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.environment import EnvironmentMissingError, services_python
from benchmarks.latency.measure import until_in_file, until_visible
from benchmarks.processes import ROOT, Program
from local.broker import LocalBroker
from local.errors import LocalModeError
from local.ports import free_ports

_ENTRY_FILES = {
    "processor": "services/processor/order_processor.py",
    "analytics": "services/analytics/analytics_engine.py",
    "sink": "services/sink/data_sink.py",
}
_RATES = (50, 2000)
_WINDOW_S = 2
_BOUND_S = 5.0
_READY_S = 60.0
# A broker that has just started takes three times as long, until its JVM has compiled the code: so long on two busy cores.
_WARM_UP_S = 120.0

console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def main() -> None:
    """Measure, print the table, optionally write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each figure is measured (30)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the figures there as JSON, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latency-") as directory:
        try:
            with LocalBroker(Path(directory) / "broker") as broker:
                _raise_priority()
                rows = [*_all(broker, Path(directory), arguments.seconds)]
        except (EnvironmentMissingError, LocalModeError) as error:
            sys.exit(f"{error}\n{error.advice}")
    table = Table(title="Latency, exactly once, in milliseconds", title_justify="left")
    for column in ("", "orders a second", "samples", "p50", "p99", "largest"):
        table.add_column(column, justify="left" if not column else "right")
    for what, rate, took_ms in rows:
        figures = (f"{figure:.1f}" for figure in (_share(took_ms, 0.5), _share(took_ms, 0.99), max(took_ms)))
        table.add_row(what, str(rate), str(len(took_ms)), *figures)
    console.print(table)
    if arguments.write:
        found = [
            {"what": what, "rate": rate, "samples": len(ms), "p50_ms": _share(ms, 0.5), "p99_ms": _share(ms, 0.99)}
            for what, rate, ms in rows
        ]
        arguments.write.write_text(json.dumps(found, indent=2) + "\n")


def _raise_priority() -> None:
    """Raise this process's priority, so that it does not wait for the measured services: that was a quarter of the latency."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        console.print(
            "no right to real-time priority: the figures contain what the measurement itself waits", style="yellow"
        )


def _all(broker: LocalBroker, directory: Path, seconds: float) -> Iterator[tuple[str, int, list[float]]]:
    console.print(f"warming the broker up for {_WARM_UP_S:.0f} s", style="dim")
    with _services(broker, directory, "warm-up-", ["processor"]):
        asyncio.run(until_visible(broker.bootstrap_servers, "warm-up-", _RATES[-1], _WARM_UP_S))
    for rate in _RATES:
        console.print(f"orders sent one by one, {rate} a second, for {seconds:.0f} s", style="dim")
        prefix = f"visible-{rate}-"
        with _services(broker, directory, prefix, ["processor"]):
            took_ms = asyncio.run(until_visible(broker.bootstrap_servers, prefix, rate, seconds))
        yield "an order sent, until it is visible in processed-orders", rate, took_ms
        took_ms = asyncio.run(until_visible(broker.bootstrap_servers, prefix, rate, seconds, "orders"))
        yield "for comparison: until it is visible in orders, with no service running", rate, took_ms
    for rate in _RATES:
        console.print(f"windows of {_WINDOW_S} s, {rate} orders a second, for {seconds:.0f} s", style="dim")
        prefix, output = f"file-{rate}-", directory / f"metrics-{rate}.json"
        with _services(broker, directory, prefix, list(_ENTRY_FILES), output):
            took = asyncio.run(until_in_file(broker.bootstrap_servers, prefix, rate, seconds, output, bound_s=_BOUND_S))
        yield "a window that may close, until its metric is in the file", rate, took.since_it_may_close
        yield "the order that closes it, until its metric is in the file", rate, took.since_the_last_order


@contextmanager
def _services(
    broker: LocalBroker, directory: Path, prefix: str, names: Sequence[str], output: Path | None = None
) -> Iterator[None]:
    cores, python = os.sched_getaffinity(0), services_python(console.print)
    with ExitStack() as running:
        ports = free_ports(len(names))
        for name, port in zip(names, ports, strict=True):
            env = {
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                "TOPIC_PREFIX": prefix,
                "WINDOW_SECONDS": str(_WINDOW_S),
                "MAX_OUT_OF_ORDERNESS_SECONDS": str(_BOUND_S),
                "HTTP_PORT": str(port),
                "LOG_FORMAT": "json",
                "SINK_OUTPUT_PATH": str(output),
            }
            program = Program([python, str(ROOT / _ENTRY_FILES[name])], env, cores, directory / f"{name}.log")
            program.start()
            running.callback(program.stop)
        _wait_until_healthy(ports)
        yield


def _wait_until_healthy(ports: Iterable[int]) -> None:
    deadline = time.monotonic() + _READY_S
    for port in ports:
        while not _healthy(port):
            if time.monotonic() > deadline:
                sys.exit(f"the service at port {port} was not ready within {_READY_S:.0f} s")
            time.sleep(0.1)


def _healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _share(took_ms: Sequence[float], share: float) -> float:
    return sorted(took_ms)[min(int(len(took_ms) * share), len(took_ms) - 1)]


if __name__ == "__main__":
    main()
