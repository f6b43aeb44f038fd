"""The flags by which every command that looks at a pipeline from outside finds it."""

import argparse
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from libs.runtime.kafka_client.bootstrap_servers import parse_bootstrap_servers
from libs.runtime.kafka_security.login_refusals import unless_refused
from libs.runtime.kafka_security.security import KafkaAddress
from libs.runtime.kafka_security.settings import kafka_security
from libs.runtime.rights.right import Role
from libs.runtime.rights.rights_check import RightsCheck
from libs.runtime.rights.with_rights import with_rights_from_the_start

T = TypeVar("T")


def pipeline_flags(*, in_subcommand: bool = False) -> argparse.ArgumentParser:
    """A parent parser with the broker, the prefix and the windows; each defaults to the services' own setting.

    ``in_subcommand`` lets the flags stand after a subcommand too, where a default would undo what stands before it.
    """
    flags = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    flags.add_argument(
        "--bootstrap",
        type=_servers,
        metavar="HOST:PORT",
        help="the broker (default: KAFKA_BOOTSTRAP_SERVERS, or localhost:9092)",
    )
    flags.add_argument("--topic-prefix", help="the pipeline's TOPIC_PREFIX")
    flags.add_argument(
        "--window-seconds",
        type=_seconds,
        metavar="SECONDS",
        help="the pipeline's windows (default: WINDOW_SECONDS, or 60)",
    )
    if not in_subcommand:
        flags.set_defaults(
            bootstrap=os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or "localhost:9092",
            topic_prefix=os.environ.get("TOPIC_PREFIX", ""),
            window_seconds=os.environ.get("WINDOW_SECONDS") or "60",
        )
    return flags


def kafka_of(arguments: argparse.Namespace) -> KafkaAddress:
    """The cluster that ``--bootstrap`` names, with the environment's settings of how to log in.

    Raises:
        SettingsError: one of these cannot be used.
    """
    return KafkaAddress(arguments.bootstrap, kafka_security())


async def allowed(work: Callable[[], Coroutine[Any, Any, T]], kafka: KafkaAddress, topic_prefix: str, role: Role) -> T:
    """The result of ``work`` in Kafka.

    Raises:
        BrokerLoginError: the cluster does not let this client in.
        MissingRightError: it does, and gives it not all rights of ``role``.
    """
    return await unless_refused(with_rights_from_the_start(work, RightsCheck(kafka, topic_prefix, role)))


def _servers(text: str) -> str:
    try:
        return parse_bootstrap_servers(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no host:port, nor several with commas: {error}") from error


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}, it must be 1 or more")
    return int(text)
