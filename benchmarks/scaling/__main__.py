"""``python -m benchmarks.scaling``: replicas, partitions, idle replicas, start-up, memory, state, recovery; in 15 minutes."""

import argparse
import asyncio
import logging
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog
from aiokafka.errors import KafkaError
from rich.console import Console

from benchmarks.environment import EnvironmentMissingError, services_python
from benchmarks.report import table
from benchmarks.scaling import costs, recovery, replicas, start, state
from benchmarks.scaling.bench import Bench, Progress
from benchmarks.scaling.report import Measured, Row, tables, write
from benchmarks.scaling.service import MOST_REPLICAS, ServiceFailedError, broker_cores, describe_cores
from local.broker import LocalBroker
from local.end_signals import end_signals
from local.errors import LocalModeError

_LOADS = ((1_000, 1), (10_000, 1), (100_000, 1), (5_000, 60))  # products, and minutes of windows open for each

console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


class Part(StrEnum):
    """A part that can be measured separately."""

    REPLICAS = "replicas"
    PARTITIONS = "partitions"
    IDLE = "idle"
    START = "start"
    MEMORY = "memory"
    STATE = "state"
    RECOVERY = "recovery"


def main() -> int:
    """Measure, print, optionally write; exit code 1 if records were lost or something failed."""
    arguments = _arguments()
    for number in end_signals():
        signal.signal(number, signal.default_int_handler)  # so that the programs it has started are ended, too
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs errors for the deleted topics of finished runs
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    since_s, failure = time.monotonic(), ""
    cores = frozenset(os.sched_getaffinity(0))
    os.sched_setaffinity(0, broker_cores(cores))  # for this program, and for the broker that it starts
    directory = Path(tempfile.mkdtemp(prefix="scaling-"))
    measured: dict[str, Measured] = {}
    try:
        python = services_python(lambda text: console.print(text, style="dim", markup=False))
        asyncio.run(_measure(arguments, python, cores, directory, measured))
    except (EnvironmentMissingError, LocalModeError, ServiceFailedError) as error:
        failure = f"{error}\n{error.advice}"
    except (KafkaError, OSError) as error:
        failure = repr(error)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory / "broker" / "data", ignore_errors=True)
    for part in measured.values():
        for each in tables(part.rows):
            console.print(table(*each))
        failure += "".join(f"\nWRONG: {row}" for row in part.wrong)
    console.print(f"{describe_cores(cores)}; {(time.monotonic() - since_s) / 60:.1f} minutes", markup=False)
    if arguments.write and measured:
        console.print(f"written: {', '.join(map(str, write(arguments.write, measured)))}", markup=False, soft_wrap=True)
    if failure:
        console.print(f"{failure}\nall logs are in {directory}", style="red", markup=False)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(Part), default=list(Part), metavar="PART", help="of " + ", ".join(Part)
    )
    parser.add_argument("--write", type=Path, metavar="DIR", help="write scaling.md and .json there")
    parser.add_argument("--orders", type=int, default=600_000, metavar="N", help="in each run (600000)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="of replicas and of partitions (2)")
    parser.add_argument(
        "--starts",
        type=int,
        default=5,
        metavar="N",
        help="of each service, and of each event that it recovers from (5)",
    )
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="an idle replica is watched (15)")
    parser.add_argument("--windows", type=int, default=300_000, metavar="N", help="open at most (300000)")
    return parser.parse_args()


async def _measure(
    arguments: argparse.Namespace, python: str, cores: frozenset[int], directory: Path, measured: dict[str, Measured]
) -> None:
    with console.status("starting a broker") as status, LocalBroker(directory / "broker") as broker:
        progress = Progress(status.update, lambda text: console.print(text, style="dim", markup=False))
        async with Bench(broker.bootstrap_servers, python, cores, directory, progress) as bench:
            for part in dict.fromkeys(arguments.only):
                began = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f} before"
                since_s = time.monotonic()
                rows = await _part(part, arguments, bench)
                took = f"{time.monotonic() - since_s:.0f} s"
                measured[part] = Measured(f"{began}, took {took}; {platform.machine()}; {describe_cores(cores)}", rows)


async def _part(part: Part, arguments: argparse.Namespace, bench: Bench) -> list[Row]:
    orders, rounds = arguments.orders, arguments.rounds
    rows: list[Row] = []
    match part:
        case Part.REPLICAS:
            shapes = [(count, 6) for count in range(1, MOST_REPLICAS + 1)]
            rows += await replicas.measure(bench, shapes, orders, rounds)
        case Part.PARTITIONS:
            rows += await replicas.measure(bench, [(1, 6), (1, 24), (1, 48), (1, 200)], orders, rounds)
        case Part.IDLE:
            rows += await costs.idle(bench, arguments.seconds)
        case Part.START:
            rows += await start.measure(bench, arguments.starts)
        case Part.MEMORY:
            rows += await costs.memory(bench, orders, orders // 6)
        case Part.STATE:
            for products, minutes in _LOADS:
                if products * minutes <= arguments.windows:
                    rows += await state.measure(bench, products, minutes, orders // 2)
        case Part.RECOVERY:
            rows += await recovery.measure(bench, arguments.starts)
    return rows


if __name__ == "__main__":
    sys.exit(main())
