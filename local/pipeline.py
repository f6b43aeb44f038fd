"""The whole pipeline on this machine: ZooKeeper, Kafka and the four services, without Docker."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file can be started by its path alone

from local import commands, parts
from local.errors import LocalModeError
from local.programs import SCALABLE
from local.settings import MOST_REPLICAS, forget_kafka_security

_END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when it did what it says."""
    parser = _parser()
    options, passed_on = parser.parse_known_args(arguments, argparse.Namespace(passes_on=False))
    if passed_on and not options.passes_on:
        parser.error(f"unknown: {' '.join(passed_on)}")
    options.passed_on = passed_on
    # Whoever ends this program, by Ctrl-C, by a signal, or by closing the terminal, ends the pipeline that it shows.
    for number in _END_SIGNALS:
        signal.signal(number, _interrupt_once)
    forget_kafka_security()
    try:
        return int(options.command(options))
    except LocalModeError as error:
        sys.stderr.write(f"{error}\n{error.advice}\n" if error.advice else f"{error}\n")
    except KeyboardInterrupt:
        return 130
    return 1


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """As Ctrl-C, but a second signal (make passes on what its process group has got already) disturbs nothing."""
    for number in _END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Environment: LOCAL_DIR (.local), LOCAL_KAFKA (3.9, which has ZooKeeper; or 4), LOCAL_KAFKA_PORT (19092), "
        "LOCAL_ZOOKEEPER_PORT (12181), LOCAL_HTTP_PORT (18080: the first of the services' health ports), and every setting of the services but their ports.",
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    up = verbs.add_parser("up", help="start everything and watch it; Ctrl-C stops everything")
    up.add_argument("--processors", type=_count, default=2, metavar="N", help="replicas of the processor (2)")
    up.add_argument("--analytics", type=_count, default=1, metavar="N", help="replicas of the analytics (1)")
    up.add_argument("--detach", action="store_true", help="return once everything is ready, and leave it running")
    up.set_defaults(command=lambda options: commands.up(options.processors, options.analytics, detach=options.detach))

    watch = verbs.add_parser("watch", help="watch what is running; Ctrl-C ends only the watching")
    watch.set_defaults(command=lambda _: commands.watch())

    verify = verbs.add_parser(
        "verify", help="verify what is running; takes the verification's own flags", add_help=False
    )
    verify.set_defaults(command=lambda options: commands.verify(options.passed_on), passes_on=True)

    dead_letters = verbs.add_parser(
        "dead-letters", help="list, show or replay the dead letters of what is running", add_help=False
    )
    dead_letters.set_defaults(command=lambda options: commands.dead_letters(options.passed_on), passes_on=True)

    report = verbs.add_parser("report", help="report a day or an hour of what is running", add_help=False)
    report.set_defaults(command=lambda options: commands.report(options.passed_on), passes_on=True)

    down = verbs.add_parser("down", help="stop everything")
    down.set_defaults(command=lambda _: commands.down())

    status = verbs.add_parser("status", help="show what is running")
    status.add_argument("--json", action="store_true", help="for programs: ports, process ids and health as JSON")
    status.set_defaults(command=lambda options: commands.status_for_programs() if options.json else commands.status())

    for name, command, text in (
        ("stop", parts.stop, "stop parts of what is running, each by its program's name or its service's"),
        ("start", parts.start, "start parts that are stopped, and wait until they are healthy"),
        ("restart", parts.restart, "stop parts and start them again; the others go on"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument(
            "programs", nargs="+", metavar="PROGRAM", help="sink, processor (all replicas), processor-2, ..."
        )
        verb.set_defaults(command=lambda options, command=command: command(options.programs))

    drain = verbs.add_parser(
        "drain", help="stop the generator and wait until all orders are in closed, written windows"
    )
    drain.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="exit code 1 after it (600)")
    drain.set_defaults(command=lambda options: parts.drain(options.timeout))

    scale = verbs.add_parser("scale", help="change the number of replicas; those that stay go on undisturbed")
    scale.add_argument("replicas", nargs="+", type=_scaling, metavar="SERVICE=N", help="processor=3 analytics=2")
    scale.set_defaults(command=lambda options: commands.scale(dict(options.replicas)))

    logs = verbs.add_parser("logs", help="show the end of a program's log")
    logs.add_argument("program", help="generator, processor (all its replicas), processor-2, kafka, zookeeper, ...")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as the log grows")
    logs.add_argument("-n", "--lines", type=int, default=30, metavar="N", help="how many lines (30)")
    logs.set_defaults(command=lambda options: commands.logs(options.program, options.lines, follow=options.follow))
    return parser


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MOST_REPLICAS):
        raise argparse.ArgumentTypeError(f"{text!r}: from 1 to {MOST_REPLICAS}")
    return int(text)


def _scaling(text: str) -> tuple[str, int]:
    service, given, count = text.partition("=")
    if service not in SCALABLE or not given:
        raise argparse.ArgumentTypeError(f"{text!r}: {' or '.join(SCALABLE)}, as in processor=3")
    return service, _count(count)


if __name__ == "__main__":
    sys.exit(main())
