"""`pipeline chaos`: injects all faults under load, and prints a table of the results."""

import asyncio
import logging
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from rich.console import Console

from cli.errors import UsageError
from local.broker import LocalBroker
from local.end_signals import end_signals
from local.kafka_files import ProxyPorts
from local.ports import free_ports
from tests.brokers.cluster import ThreeBrokers
from tests.brokers.kraft import KraftBroker
from tests.chaos.episode import Episode, Outcome, run_episode
from tests.chaos.plan import PARTS, SHORT_FORM, long_form
from tests.chaos.table import findings, markdown, render
from verification.report import Report

console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)


@dataclass(frozen=True)
class ChaosOptions:
    """Faults and load; without a seed a random one is used, without a version of Kafka 4 the usual broker."""

    seed: int | None = None
    rate: int = 2000
    scale: float = 1.0
    part: Sequence[str] = PARTS
    only: Sequence[str] = ()
    kafka_4: str | None = None
    short: bool = False
    markdown: Path | None = None


def run_chaos(options: ChaosOptions) -> int:
    """Run the faults, print the table.

    Returns:
        The exit code: 0 if nothing was lost, duplicated or wrong.

    Raises:
        UsageError: no fault has such a name.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Also end the programs that this program has started.
    for number in end_signals():
        signal.signal(number, signal.default_int_handler)
    seed = secrets.randbits(16) if options.seed is None else options.seed
    episodes = [SHORT_FORM] if options.short else long_form(options.scale, options.part)
    if options.kafka_4:
        episodes = [each for each in episodes if each.proxied]
    chosen = [each for each in episodes if all(word in each.name for word in options.only)]
    if not chosen:
        raise UsageError("no such fault", advice=f"there are: {'; '.join(each.name for each in episodes)}")
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    console.print(f"seed {seed}, {options.rate:,} orders a second, logs in {directory}")
    outcomes = asyncio.run(_run(chosen, directory, seed, options.rate, kafka_4=options.kafka_4))
    console.print(render(outcomes))
    if options.markdown:
        options.markdown.write_text(markdown(outcomes))
    for line in findings(outcomes):
        console.print(line, style="red", markup=False, soft_wrap=True)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


async def _run(
    episodes: Sequence[Episode], directory: Path, seed: int, rate: int, *, kafka_4: str | None
) -> list[Outcome]:
    outcomes = []
    for number, episode in enumerate(episodes, 1):
        console.print(f"[{number}/{len(episodes)}] {episode.name}", style="bold", markup=False)
        folder = directory / f"episode-{number}"
        broker = _broker(episode, directory / f"broker-{number}", kafka_4)
        try:
            await asyncio.to_thread(broker.start)
            outcome = await run_episode(episode, broker, folder, seed=seed, rate=rate, say=_printer())
        except Exception as error:  # noqa: BLE001 - the outcomes of the other episodes still have to be printed
            console.print_exception()
            outcome = Outcome(episode.name, Report(), problems=[f"broken off: {error!r}"])
        finally:
            await asyncio.to_thread(broker.stop)
        _print_outcome(outcome)
        outcomes.append(outcome)
    return outcomes


def _broker(episode: Episode, directory: Path, kafka_4: str | None) -> LocalBroker:
    """A new broker for each episode: after a kill, a broker recovers all of its logs, including those of earlier episodes."""
    if episode.brokers > 1:
        return ThreeBrokers(directory)
    kafka, zookeeper, *proxied = free_ports(4)
    proxy = ProxyPorts(*proxied)
    return KraftBroker(directory, proxy, kafka_4) if kafka_4 else LocalBroker(directory, kafka, zookeeper, proxy)


def _printer() -> Callable[[str], None]:
    since_s = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"  {time.monotonic() - since_s:6.1f} s  {line}", style="dim", markup=False, soft_wrap=True)

    return tell


def _print_outcome(outcome: Outcome) -> None:
    report = outcome.report
    console.print(
        f"  {report.sent:,} orders, {report.lost:,} lost, {report.duplicated:,} duplicated: "
        + ("ok" if outcome.ok else "FAILED"),
        style="green" if outcome.ok else "bold red",
        markup=False,
    )
