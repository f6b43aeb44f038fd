"""``python -m tests.chaos``: exit code 0 when nothing was lost, duplicated or wrong, whatever went wrong."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from rich.console import Console

from local.broker import LocalBroker
from local.errors import LocalModeError
from local.kafka_files import ProxyPorts
from local.kraft_files import DEFAULT_VERSION
from local.ports import free_ports
from tests.brokers.cluster import ThreeBrokers
from tests.brokers.kraft import KraftBroker
from tests.chaos.episode import Episode, Outcome, run_episode
from tests.chaos.plan import PARTS, SHORT_FORM, long_form
from tests.chaos.table import findings, markdown, render
from verification.report import Report

console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def main() -> None:
    """Run, print the table, exit."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers go away here all the time
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Whoever ends this program ends what it has started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    seed = secrets.randbits(16) if arguments.seed is None else arguments.seed
    episodes = [SHORT_FORM] if arguments.short else long_form(arguments.scale, arguments.part)
    if arguments.kafka_4:
        episodes = [each for each in episodes if each.proxied]
    chosen = [each for each in episodes if all(word in each.name for word in arguments.only)]
    if not chosen:
        sys.exit(f"no such fault; there are: {'; '.join(each.name for each in episodes)}")
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    console.print(f"seed {seed}, {arguments.rate:,} orders a second, logs in {directory}")
    try:
        outcomes = asyncio.run(_run(chosen, directory, seed, arguments.rate, kafka_4=arguments.kafka_4))
    except LocalModeError as error:
        sys.exit(f"{error}\n{error.advice}")
    except KeyboardInterrupt:
        sys.exit(130)
    console.print(render(outcomes))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(outcomes))
    for line in findings(outcomes):
        console.print(line, style="red", markup=False, soft_wrap=True)
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


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
            outcome = await run_episode(episode, broker, folder, seed=seed, rate=rate, say=_teller())
        except Exception as error:  # noqa: BLE001 - the other episodes' outcomes are still to be shown
            console.print_exception()
            outcome = Outcome(episode.name, Report(), problems=[f"broken off: {error!r}"])
        finally:
            await asyncio.to_thread(broker.stop)
        _say_verdict(outcome)
        outcomes.append(outcome)
    return outcomes


def _broker(episode: Episode, directory: Path, kafka_4: str | None) -> LocalBroker:
    """A broker of the episode's own: one that was killed checks all it holds when it starts, that of earlier episodes, too."""
    if episode.brokers > 1:
        return ThreeBrokers(directory)
    kafka, zookeeper, *proxied = free_ports(4)
    proxy = ProxyPorts(*proxied)
    return KraftBroker(directory, proxy, kafka_4) if kafka_4 else LocalBroker(directory, kafka, zookeeper, proxy)


def _teller() -> Callable[[str], None]:
    since_s = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"  {time.monotonic() - since_s:6.1f} s  {line}", style="dim", markup=False, soft_wrap=True)

    return tell


def _say_verdict(outcome: Outcome) -> None:
    report = outcome.report
    console.print(
        f"  {report.sent:,} orders, {report.lost:,} lost, {report.duplicated:,} duplicated: "
        + ("ok" if outcome.ok else "FAILED"),
        style="green" if outcome.ok else "bold red",
        markup=False,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats a run's faults; without it a random one, which is printed")
    parser.add_argument("--rate", type=int, default=2000, metavar="N", help="orders a second (2000)")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="times as long (1: an hour and a half)")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="parts of the long form (all)")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="episodes whose names have these words")
    parser.add_argument(
        "--kafka-4",
        nargs="?",
        const=DEFAULT_VERSION,
        metavar="VERSION",
        help=f"faults of the network only, on a broker of Kafka 4 ({DEFAULT_VERSION})",
    )
    parser.add_argument("--short", action="store_true", help="the short form that is among the tests")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
