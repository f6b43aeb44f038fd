"""What the live page and the replicas of the analytics say by HTTP."""

import http.client
import json
import socket
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0

_OPEN_WINDOWS = "pipeline_state_entries{"


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
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{path} answers {answer.status}")
        return body
    finally:
        connection.close()
