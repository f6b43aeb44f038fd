"""`pipeline up`, `scale`, `logs` and `down`: the pipeline as processes of this machine, without Docker."""

import signal
from types import FrameType
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import Number

from cli.errors import UsageError
from libs.checkout import is_checkout
from local import commands
from local.end_signals import end_signals
from local.errors import LocalModeError
from local.programs import SCALABLE
from local.settings import MOST_REPLICAS, forget_kafka_security

Replicas = Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_REPLICAS))]


def up(*, processors: Replicas = 2, analytics: Replicas = 1, detach: bool = False, kafka_only: bool = False) -> int:
    """Start Kafka, ZooKeeper and the services on this machine, and watch them; Ctrl-C stops everything.

    Environment variables: LOCAL_DIR is the folder of all data and logs (.local). LOCAL_KAFKA is the version of Kafka: 3.9, with
    ZooKeeper, or 4, without. LOCAL_KAFKA_PORT (19092), LOCAL_ZOOKEEPER_PORT (12181) and LOCAL_HTTP_PORT (18080) are ports, the
    last one the first of services and live page. A second pipeline beside the first needs a folder and ports of its own, and also
    its own SINK_OUTPUT_PATH and SINK_DATABASE_URL. Settings of the services are in docs/settings.md.

    Args:
        processors: Replicas of the processor.
        analytics: Replicas of the analytics service.
        detach: Return once everything is ready, and leave it running.
        kafka_only: Start no service, and return. For `pipeline recompute` where a service refuses to start.
    """
    _refuse_in_an_image("docker compose up")
    end_as_ctrl_c_does()
    forget_kafka_security()
    return commands.up(processors, analytics, detach=detach, kafka_only=kafka_only)


def down() -> int:
    """Stop everything in local mode; the data stays."""
    _refuse_in_an_image("docker compose --profile '*' down")
    end_as_ctrl_c_does()
    return commands.down()


def scale(*replicas: str) -> int:
    """Change the number of replicas; replicas that remain are not restarted.

    Args:
        replicas: New numbers: processor=3 analytics=2.
    """
    end_as_ctrl_c_does()
    forget_kafka_security()
    if not replicas:
        raise UsageError("say how many replicas of what", advice="as in `pipeline scale processor=3 analytics=2`")
    return commands.scale(dict(map(parse_scaling, replicas)))


def logs(
    program: str,
    /,
    *,
    lines: Annotated[PositiveInt, Parameter(alias="-n")] = 30,
    follow: Annotated[bool, Parameter(alias="-f")] = False,
) -> int:
    """Show the end of a program's log.

    Args:
        program: generator, processor (all replicas), processor-2, analytics, sink, live, kafka or zookeeper.
        lines: Number of lines.
        follow: Follow the log as it grows.
    """
    return commands.logs(program, lines, follow=follow)


def _refuse_in_an_image(counterpart: str) -> None:
    if not is_checkout():
        raise LocalModeError(
            "this is an image, and local mode needs a checkout",
            advice=f"with Docker Compose use `{counterpart}` (docs/cli.md, In Docker)",
        )


def parse_scaling(text: str) -> tuple[str, int]:
    """``processor=3`` as a pair; raises UsageError saying what is allowed."""
    service, given, count = text.partition("=")
    if service not in SCALABLE or not given:
        raise UsageError(f"{text!r}: {' or '.join(SCALABLE)} is allowed, as in processor=3")
    if not (count.isascii() and count.isdecimal() and len(count) < 4 and 1 <= int(count) <= MOST_REPLICAS):
        raise UsageError(f"{text!r}: from 1 to {MOST_REPLICAS} is allowed")
    return service, int(count)


def end_as_ctrl_c_does() -> None:
    """SIGTERM and SIGHUP (a closed terminal) stop the pipeline as Ctrl-C does, unless they are ignored."""
    for number in end_signals():
        signal.signal(number, _interrupt_once)


def _interrupt_once(_number: int, _frame: FrameType | None) -> None:
    """Act as on Ctrl-C, once: make sends the signal a second time to a process group that has already received it."""
    for number in end_signals():
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
