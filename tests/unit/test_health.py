import asyncio
import http.client
import json

from prometheus_client import CollectorRegistry

from libs.runtime.service.health import Health
from libs.runtime.service.health_server import HealthServer
from libs.runtime.timing import HEALTHY_FOR_S, LOOP_ALIVE_FOR_S
from tests.integration.services import eventually


def get_health(port: int, path: str = "/health") -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    body: dict[str, object] = json.loads(response.read())
    connection.close()
    return response.status, body


def test_every_heartbeat_must_be_recent_for_health() -> None:
    now_s = 1000.0
    health = Health(lambda: now_s)
    assert not health.report()[0]
    health.started()
    health.beat("orders-0")
    assert health.report()[0]
    now_s += HEALTHY_FOR_S + 1
    health.beat("connected")
    healthy, report = health.report()
    assert not healthy
    assert report["reason"] == "no progress: orders-0"
    health.forget("orders-0")
    assert health.report()[0]


def test_health_over_http() -> None:
    health = Health()
    with HealthServer(health, CollectorRegistry(), "127.0.0.1", 0) as server:
        assert get_health(server.port)[0] == 503
        health.started()
        status, report = get_health(server.port)
        assert status == 200
        assert report["healthy"] is True
        assert get_health(server.port, "/nothing")[0] == 404


def test_a_service_that_waits_for_its_broker_is_live() -> None:
    now_s = 1000.0
    health = Health(lambda: now_s)
    health.started()
    with HealthServer(health, CollectorRegistry(), "127.0.0.1", 0) as server, asyncio.Runner() as runner:
        now_s += max(HEALTHY_FOR_S, LOOP_ALIVE_FOR_S) + 1
        health.watch(runner.get_loop())
        assert get_health(server.port)[0] == 503
        assert get_health(server.port, "/health/live") == (200, {"alive": True, "seconds_since_event_loop_turned": 0.0})


async def test_a_blocked_event_loop_is_not_live() -> None:
    now_s = 1000.0
    health = Health(lambda: now_s)
    health.watch(asyncio.get_running_loop())
    with HealthServer(health, CollectorRegistry(), "127.0.0.1", 0) as server:
        now_s += LOOP_ALIVE_FOR_S + 1
        assert get_health(server.port, "/health/live")[0] == 503  # requested without yielding to the event loop
        await eventually(lambda: health.liveness()[0], what="the event loop has run once")
        assert get_health(server.port, "/health/live")[0] == 200
