"""Feeds millions of damaged inputs to all readers of external data, and prints a table of the results.

Each target runs in a separate process, so that its memory can be measured and a crash of the interpreter detected.
"""

import argparse
import json
import secrets
import subprocess
import sys
import time
from dataclasses import asdict

import structlog
from rich.console import Console
from rich.table import Table

from tests.fuzz.run import Outcome, run
from tests.fuzz.targets import TARGETS

_MAX_GROWTH_MIB = 16.0
_SILENT = 50  # above every level that is logged: each foreign record would be a log line
_PROGRESS_S = 10.0


def main() -> int:
    """Run the targets; returns the exit code: 1 for a crash, a wrong outcome or growing memory."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", default="", help="the same seed gives the same inputs (default: a random one)")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs for each target, fewer for slow ones")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="only this one; may be repeated")
    parser.add_argument("--child", choices=list(TARGETS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seed = arguments.seed or secrets.token_hex(4)
    if arguments.child:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
        outcome = run(arguments.child, seed, arguments.count, lambda so_far: _print_progress(so_far, done=False))
        _print_progress(outcome, done=True)
        return 0
    console = Console(width=100)
    console.print(f"seed {seed}, {arguments.count:,} inputs each", highlight=False)
    outcomes = [_run_in_process(name, seed, arguments.count, console) for name in arguments.target or TARGETS]
    console.print(_table(outcomes))
    for outcome in outcomes:
        for example in outcome.examples:
            console.print(f"{outcome.target}: {example}", markup=False, highlight=False)
    bad = [each for each in outcomes if each.crashes or each.growth_mib > _MAX_GROWTH_MIB]
    return 1 if bad else 0


def _print_progress(outcome: Outcome, *, done: bool) -> None:
    print(json.dumps({"done": done, **asdict(outcome)}), flush=True)  # noqa: T201 - to the parent


def _run_in_process(name: str, seed: str, count: int, console: Console) -> Outcome:
    command = [sys.executable, "-m", "tests.fuzz", "--child", name, "--seed", seed, "--count", str(count)]
    outcome, done, told_s = Outcome(name), False, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            fields = json.loads(line)
            done = fields.pop("done")
            outcome = Outcome(**fields)
            if done or time.monotonic() - told_s > _PROGRESS_S:
                told_s = time.monotonic()
                console.print(f"{name}: {outcome.inputs:,} inputs, {outcome.crashes} crashes", highlight=False)
    if not done:
        outcome.crashes += 1
        outcome.examples.append(f"the process ended with {child.returncode}")
    return outcome


def _table(outcomes: list[Outcome]) -> Table:
    table = Table()
    table.add_column("target")
    for heading in ("inputs", "accepted", "refused", "crashes", "peak memory growth (MiB)"):
        table.add_column(heading, justify="right")
    for each in outcomes:
        counts = (each.inputs, each.accepted, each.refused, each.crashes)
        table.add_row(each.target, *(f"{count:,}" for count in counts), f"{each.growth_mib:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
