"""Runs the live page as its users do."""

import http.client
from typing import NamedTuple
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from local.ports import free_ports
from tests.integration.pipeline import Pipeline
from tests.integration.services import ROOT, ServiceProcess


class Response(NamedTuple):
    """The server's response to a request."""

    status: int
    headers: dict[str, str]
    body: str


class LivePage(ServiceProcess):
    """``python -m live`` for ``pipeline``; a restart uses the same port."""

    def __init__(self, pipeline: Pipeline) -> None:
        env = pipeline.env | {"LIVE_PORT": str(free_ports(1)[0])}
        super().__init__("live", pipeline.directory, env, entry_file=ROOT / "live" / "__main__.py")

    async def url(self) -> str:
        """The page's URL, once it is served."""
        return str((await self.wait_for("service started"))["page"])

    async def get(self, path: str) -> Response:
        connection = http.client.HTTPConnection(urlsplit(await self.url()).netloc, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Response(response.status, dict(response.getheaders()), response.read().decode())
        finally:
            connection.close()

    async def series(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's values by those of its labels."""
        families = text_string_to_metric_families((await self.get("/metrics")).body)
        samples = (sample for family in families for sample in family.samples if sample.name == name)
        return {tuple(sample.labels.values()): sample.value for sample in samples}
