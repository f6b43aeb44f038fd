"""``python -m watch.drained``: wait until every order has gone through all stages and every window has closed.

Exit code 0 if the pipeline is drained, 1 if it is not within the time. The generator has to be stopped first. With Docker:
``docker compose exec live python -m watch.drained``; in local mode: ``pipeline drain``.
"""

import argparse
import json
import os
import socket
import sys
from dataclasses import asdict
from urllib.parse import urlsplit

from libs.report_line import exit_code_after_output, report_line
from watch.endpoints import Endpoints
from watch.remaining_work import wait_until_drained

OUTPUTS = ("file", "database")

_DATABASE_HOSTS = ("sink-database", "database")
"""Compose's services of the profile `database`. While the sink restarts again and again, it has no address."""


def written_outputs() -> list[str]:
    """The outputs of the sinks beside this process: SINK_OUTPUTS, and the database if Compose's profile for it is running."""
    names = {*output_names(os.environ.get("SINK_OUTPUTS") or "file")}
    if any(_has_address(host) for host in _DATABASE_HOSTS):
        names.add("database")
    return sorted(names)


def output_names(text: str) -> list[str]:
    """The names in a value of SINK_OUTPUTS."""
    return [name.strip() for name in text.lower().split(",")]


def _has_address(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def main() -> int:
    """Wait, print the remaining work, and return the exit code."""
    arguments = _arguments()
    endpoints = Endpoints(arguments.live, arguments.analytics, arguments.outputs)
    left = wait_until_drained(endpoints, arguments.timeout, _ignore if arguments.json else report_line)
    if arguments.json:
        sys.stdout.write(json.dumps({"drained": left.done, **asdict(left)}) + "\n")
    else:
        report_line("drained" if left.done else f"not drained: {'; '.join(left.waiting_for)}")
    return 0 if left.done else 1


def _ignore(_: str) -> None:
    """With --json only the final JSON is printed."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m watch.drained", description=__doc__)
    parser.add_argument("--live", type=_url, default="http://127.0.0.1:8080", metavar="URL", help="the live page's")
    parser.add_argument(
        "--analytics",
        type=_url,
        nargs="+",
        default=["http://analytics:8080"],
        metavar="URL",
        help="of each replica, or of a host name with the addresses of all replicas",
    )
    parser.add_argument(
        "--outputs",
        type=_outputs,
        metavar="SINK_OUTPUTS",
        help="the sink's, separated by commas; others are ignored (SINK_OUTPUTS, and database if its profile runs)",
    )
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="0 looks once (600)")
    parser.add_argument("--json", action="store_true", help="print what is left as JSON")
    arguments = parser.parse_args()
    if arguments.outputs is None:
        try:
            arguments.outputs = _known(written_outputs())
        except argparse.ArgumentTypeError as error:
            parser.error(f"SINK_OUTPUTS: {error}")
    return arguments


def _outputs(text: str) -> list[str]:
    return _known(output_names(text))


def _known(names: list[str]) -> list[str]:
    if unknown := sorted(set(names) - set(OUTPUTS)):
        raise argparse.ArgumentTypeError(f"{', '.join(map(repr, unknown))}: {' and '.join(OUTPUTS)} are allowed")
    return names


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        fits = parts.scheme == "http" and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"{text!r}: http://host:port is allowed")
    return text


if __name__ == "__main__":
    sys.exit(exit_code_after_output(main()))
