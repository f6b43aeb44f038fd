"""A pipeline in other containers, which Airflow reaches over the network and cannot control."""

import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from bonus_airflow.operations.errors import OperationError
from bonus_airflow.operations.http_json import get_json
from bonus_airflow.operations.parts import SERVICES, Part
from watch import drained

LIVE_PAGE_SETTING = "PIPELINE_LIVE_PAGE"
"""The setting that makes Airflow watch, and nothing else: the live page's URL, http://live:8080 in docker-compose.yml."""

NO_CONTROL = "this Airflow only watches the pipeline: `make airflow` starts one that controls it"

_HEALTH_PORT = 8080


class WatchedPipeline:
    """A service's host name has the addresses of all its replicas, as in a network of Docker Compose.

    A replica that has ended has no address, and is not listed: Docker's restart policy restarts it. A service without any replica
    is broken, except the generator, which may have been stopped on purpose.
    """

    name = "watched"
    can_control = False

    def problem(self) -> str:
        return ""

    def is_running(self) -> bool:
        try:
            self.snapshot()
        except OperationError:
            return any(_addresses_of(service) for service in SERVICES)
        return True

    def parts(self) -> list[Part]:
        return [part for service in SERVICES for part in replicas(service)]

    def snapshot(self) -> Mapping[str, Any]:
        page = urlsplit(os.environ[LIVE_PAGE_SETTING])
        try:
            # By address, since the live page rejects host names that are not in LIVE_ALLOWED_HOSTS.
            address = socket.gethostbyname(page.hostname or "")
        except OSError as error:
            raise OperationError(f"{LIVE_PAGE_SETTING}={page.geturl()}: {error}") from error
        return get_json(f"http://{address}:{page.port or 80}{page.path.rstrip('/')}/snapshot")

    def written_outputs(self) -> list[str]:
        return drained.written_outputs()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise OperationError(NO_CONTROL)

    start = restart = stop_generator = left_to_drain = stop_services = verify = stop_all = _refuse


def replicas(service: str, port: int = _HEALTH_PORT) -> Iterator[Part]:
    """All replicas of the host name ``service``, with the results of their `/health`."""
    addresses = _addresses_of(service)
    if not addresses:
        is_stopped = service == "generator"
        yield Part(service, service, "" if is_stopped else "no replica is running", is_stopped)
    for address in addresses:
        problem = ""
        try:
            get_json(f"http://{address}:{port}/health")
        except OperationError as error:
            problem = str(error)
        yield Part(f"{service} at {address}", service, problem)


def _addresses_of(service: str) -> list[str]:
    try:
        found = socket.getaddrinfo(service, None, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror:
        return []
    return sorted({str(address[0]) for *_, address in found})
