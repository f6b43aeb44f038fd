"""A client of Prometheus' HTTP API."""

import http.client
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.integration.services import HANGS_AFTER_S

Labels = dict[str, str]


class Series(NamedTuple):
    """The labels of a series, and its newest value."""

    labels: Labels
    value: float


@dataclass(frozen=True)
class Prometheus:
    """The one that listens on ``port`` of this machine."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:
        """The response of ``/api/v1/{path}``.

        Raises:
            OSError: no server responds.
            AssertionError: the response is an error.
        """
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=HANGS_AFTER_S
        )  # unlike urllib, ignores a proxy in the environment
        try:
            connection.request("GET", f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert response.status == 200, (parameters, body)
        return json.loads(body)["data"]

    async def query(self, expr: str) -> list[Series]:
        """The current result of ``expr``."""
        found = self.ask("query", query=expr)
        assert found["resultType"] == "vector", f"{expr}: {found['resultType']}"
        return [Series(series["metric"], float(series["value"][1])) for series in found["result"]]

    async def firing(self) -> list[Labels]:
        """The labels of each firing alert."""
        return [alert["labels"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]

    async def targets(self) -> list[tuple[str, str]]:
        """(job, health) of all scrape targets."""
        return [(target["labels"]["job"], target["health"]) for target in self.ask("targets")["activeTargets"]]
