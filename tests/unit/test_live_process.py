"""``python -m live`` as a process without a broker: the page is served."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from libs.runtime.service.settings import load_settings
from live.__main__ import LivePage, _server
from live.live_settings import LiveSettings
from local.ports import free_ports
from tests.integration.services import ROOT


class LiveProcess:
    def __init__(self, **settings: str) -> None:
        self.port, no_broker = free_ports(2)
        self.env = os.environ | settings | {"LIVE_PORT": str(self.port), "LOG_FORMAT": "json"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "live", f"--kafka-bootstrap-servers=127.0.0.1:{no_broker}"],
            cwd=ROOT,
            env=self.env,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        assert any("service started" in line for line in self.process.stderr)
        self._connections: list[http.client.HTTPConnection] = []

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.connect()
        self._connections.append(connection)
        return connection

    def get(self, path: str, host: str = "localhost") -> http.client.HTTPResponse:
        connection = self.connect()
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse()

    def status(self, path: str, host: str = "localhost") -> int:
        with self.get(path, host) as response:
            return response.status

    def end(self) -> None:
        assert self.process.stderr
        for connection in self._connections:
            connection.close()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


@pytest.fixture
def started() -> Iterator[list[LiveProcess]]:
    processes: list[LiveProcess] = []
    yield processes
    for each in processes:
        each.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_and_its_event_streams(started: list[LiveProcess], number: signal.Signals) -> None:
    live = LiveProcess()
    started.append(live)
    events = live.get("/events")
    assert events.readline() == b"retry: 1000\n"
    live.connect().sock.sendall(b"GET / HT")
    live.process.send_signal(number)
    assert b"data: {" in events.read(), "read() would raise IncompleteRead if the stream had been cut"
    assert live.process.wait(60) == 0
    assert live.process.stderr
    assert '"event":"service stopped"' in live.process.stderr.read()
    events.close()


def test_it_responds_to_allowed_hosts_and_below_its_prefix(started: list[LiveProcess]) -> None:
    live = LiveProcess(LIVE_ALLOWED_HOSTS="orders.example.com", LIVE_PATH_PREFIX="/orders/")
    started.append(live)
    assert live.status("/orders/", "orders.example.com") == 200
    assert live.status("/orders/app.js") == 200
    assert live.status("/") == 200
    for path in ("/", "/orders/", "/snapshot", "/events", "/metrics", "/health"):
        assert live.status(path, "evil.example") == 403, path


def test_in_a_network_probes_may_use_any_name_and_browsers_may_not(started: list[LiveProcess]) -> None:
    live = LiveProcess(LIVE_HOST="0.0.0.0")
    started.append(live)
    assert live.status("/metrics", "live:8080") == 200
    assert live.status("/health", "live.order-pipeline.svc") == 503, "there is no broker"
    assert live.status("/", "10.244.1.7:8080") == 200, "as kubelet asks"
    for path in ("/", "/snapshot", "/events"):
        assert live.status(path, "evil.example") == 403, path


def test_the_host_name_that_it_listens_on_is_allowed() -> None:
    settings = load_settings(LiveSettings, ["--live-host", "Orders-Box"])
    hosts = _server(LivePage(settings), settings)._hosts
    assert hosts
    assert hosts.allows("orders-box:8080")
    assert not hosts.allows("another-box:8080")
