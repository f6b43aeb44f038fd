"""``python -m watch.drained``: wait until every order has gone through all stages and every window has closed.

Exit code 0 if the pipeline is drained, 1 if it is not within the time. The generator has to be stopped first. With Docker:
``docker compose exec live python -m watch.drained``; in local mode: ``pipeline drain``.
"""

import argparse
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from libs.report_line import discard_unwritten, report_line

OUTPUTS = ("file", "database")

_TIMEOUT_S = 5.0
_POLL_S = 1.0
_DATABASE_HOSTS = ("sink-database", "database")
"""Compose's services of the profile `database`. While the sink restarts again and again, it has no address."""
_OPEN_WINDOWS = "pipeline_state_entries{"


@dataclass(frozen=True)
class RemainingWork:
    """The remaining work: ``waiting_for`` has an entry for each part that is not drained, and is empty if all are.

    ``open_windows`` counts a window once for each product; None if a replica of the analytics did not respond.
    """

    waiting_for: list[str]
    open_windows: int | None

    @property
    def done(self) -> bool:
        return not self.waiting_for


class Endpoints:
    """The HTTP endpoints of the live page and of all replicas of the analytics.

    For a host name with several addresses (the replicas of a Compose service), each address is requested. ``outputs`` are those of the
    sink: an output that it does not write, or no longer, stays behind for ever.
    """

    def __init__(self, live: str, analytics: Sequence[str], outputs: Collection[str]) -> None:
        self._live = live
        self._analytics = analytics
        self.outputs = outputs

    def snapshot(self) -> Mapping[str, Any]:
        """The live page's snapshot. Raises OSError, HTTPException or ValueError."""
        found: Mapping[str, Any] = json.loads(_get(_address(self._live), "/snapshot"))
        return found

    def open_windows(self) -> dict[str, int]:
        """The open windows by partition, of all replicas of the analytics.

        A replica that starts, or that joins its group again, has none yet. Raises OSError, HTTPException or ValueError if one does not
        respond.
        """
        addresses = [address for url in self._analytics for address in _addresses(url)]
        found: dict[str, int] = {}
        for address in addresses:
            for partition, count in _open_windows_in(_get(address, "/metrics").decode()).items():
                found[partition] = max(count, found.get(partition, 0))
        return found


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


def remaining_work(endpoints: Endpoints, monotonic_s: Callable[[], float] = time.monotonic) -> RemainingWork:
    """The remaining work now.

    The order of the checks makes it exact: no lag of the first stages, then no open window, then no lag of the sink. The lags have
    to be read from Kafka after this call, and again after the windows were checked, so newer snapshots of the live page are awaited.
    """
    try:
        snapshot = _newer_snapshot(endpoints, monotonic_s)
        if waiting := _lags(snapshot, endpoints.outputs):
            return RemainingWork(waiting, None)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return RemainingWork([f"an answer of the live page: {error!r}"], None)
    try:
        if left := _windows_left(endpoints.open_windows(), snapshot["event_time"]["partitions"]):
            return left
    except (OSError, http.client.HTTPException, ValueError) as error:
        return RemainingWork([f"an answer of every replica of the analytics: {error!r}"], None)
    try:
        return RemainingWork(_lags(_newer_snapshot(endpoints, monotonic_s), endpoints.outputs), 0)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return RemainingWork([f"an answer of the live page: {error!r}"], 0)


def wait_until_drained(endpoints: Endpoints, timeout_s: float, report: Callable[[str], None]) -> RemainingWork:
    """Check until nothing is left or the time is over; ``report`` is called with each change of the remaining work."""
    deadline_s = time.monotonic() + timeout_s
    reported = ""
    while True:
        left = remaining_work(endpoints)
        if (text := "; ".join(left.waiting_for)) != reported and text:
            report(f"waiting for {text}")
            reported = text
        if left.done or time.monotonic() >= deadline_s:
            return left
        time.sleep(_POLL_S)


def _lags(snapshot: Mapping[str, Any], outputs: Collection[str]) -> list[str]:
    if snapshot["waiting_for"] or not snapshot["stages"]:
        return [snapshot["waiting_for"] or "the first look at Kafka"]
    lags = {group: stage["lag"] for group, stage in snapshot["stages"].items()}
    # The stage's lag is that of whichever output has offsets, so it says nothing about one that was never written.
    of_outputs = snapshot["output_lags"]
    lags["sink"] = of_outputs["file"] if "file" in outputs else 0
    left = [f"{group} to read {lag:,} records" for group, lag in lags.items() if lag]
    if "database" in outputs and of_outputs["database"]:
        left.append(f"sink to write {of_outputs['database']:,} metrics to the database")
    # A working stage has open transactions, so a blocked count is reported only for a stage without lag.
    blocked = {group: stage["blocked"] for group, stage in snapshot["stages"].items() if not lags[group]}
    left += [
        f"{group} to read {count:,} records behind an open transaction (`pipeline doctor` finds one that stays open)"
        for group, count in blocked.items()
        if count
    ]
    return left


def _windows_left(open_windows: Mapping[str, int], partitions: int) -> RemainingWork | None:
    """What the analytics has left; None if no window is open in any of the partitions."""
    if count := sum(open_windows.values()):
        return RemainingWork([f"{count:,} open windows, counted by product"], count)
    if (missing := partitions - len(open_windows)) > 0:
        return RemainingWork([f"the analytics to restore its state of {missing} partitions"], None)
    return None


def _newer_snapshot(endpoints: Endpoints, monotonic_s: Callable[[], float]) -> Mapping[str, Any]:
    """A snapshot that was begun after this call: the second one that is finished after it."""
    seen = {endpoints.snapshot()["seen_at_s"]}
    deadline_s = monotonic_s() + 4 * _TIMEOUT_S
    while True:
        snapshot = endpoints.snapshot()
        seen.add(snapshot["seen_at_s"])
        if len(seen) > 2 or snapshot["waiting_for"]:
            return snapshot
        if monotonic_s() > deadline_s:
            raise TimeoutError("it has stopped looking at Kafka")
        time.sleep(_POLL_S / 4)


def _open_windows_in(metrics: str) -> dict[str, int]:
    """The gauge by its labels, from Prometheus' text format; not parsed by the library, which local mode may lack."""
    series = (line.rpartition(" ") for line in metrics.splitlines() if line.startswith(_OPEN_WINDOWS))
    return {labels: int(float(value)) for labels, _, value in series}


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def _addresses(url: str) -> list[tuple[str, int]]:
    host, port = _address(url)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({(str(address[0]), port) for *_, address in found})


def _get(address: tuple[str, int], path: str) -> bytes:
    # http.client, unlike urllib, ignores a proxy in the environment.
    connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{path} answers {answer.status}")
        return body
    finally:
        connection.close()


def main() -> int:
    """Wait, print the remaining work, and return the exit code."""
    arguments = _arguments()
    endpoints = Endpoints(arguments.live, arguments.analytics, arguments.outputs)
    left = wait_until_drained(endpoints, arguments.timeout, _ignore if arguments.json else report_line)
    if arguments.json:
        report_line(json.dumps({"drained": left.done, **asdict(left)}))
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
    exit_code = main()
    discard_unwritten()
    sys.exit(exit_code)
