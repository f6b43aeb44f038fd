"""`/metrics` has the names documented in docs/metrics.md, by Prometheus' conventions, from a responsive server."""

import asyncio
import http.client
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from libs.events.dead_letters import Reason
from libs.runtime.metrics import ServiceMetrics, StageMetrics, totals
from libs.runtime.service.health import Health
from libs.runtime.service.health_server import HealthServer
from libs.runtime.service.settings import load_settings
from live.__main__ import LivePage
from live.live_settings import LiveSettings
from services.analytics.window_metrics import WindowMetrics
from services.generator.generator_metrics import GeneratorMetrics
from services.processor.order_metrics import OrderMetrics
from services.sink.file.file_writer import FileWriter
from services.sink.file.metrics_file import MetricsFile
from services.sink.record_batcher import MetricBatch
from services.sink.report_written import report_written
from services.sink.sink_metrics import SinkMetrics
from tests.unit.test_watch_state import observation
from watch.state import READERS

TABLE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
# Names that Prometheus defines: https://prometheus.io/docs/practices/naming/
UNITS = ("_seconds", "_bytes", "_total", "_records", "_orders", "_entries", "_partitions", "_healthy", "_standby")
ABOUT_THE_PROCESS = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
]
LABELS = {"topic", "partition", "reason", "outcome", "product_id", "fault", "output", "le"}


def registry_of(service: str) -> CollectorRegistry:
    """The metrics of the service, with a series for each gauge by partition."""
    registry, health = CollectorRegistry(), Health()
    ServiceMetrics(registry, health.is_healthy)
    if service == "generator":
        GeneratorMetrics(registry, Reason, 20_000)
    elif service == "sink":
        SinkMetrics(registry, "product-metrics", ["file"]).outputs["file"].progress({3: 0})
    else:
        stage = StageMetrics(
            registry, "source", ["output"], stateful=service == "analytics", from_senders=service == "processor"
        )
        stage.progress(3, 5, 1000.0, 7, 0.5)
        if service == "processor":
            OrderMetrics(registry, Reason)
        else:
            WindowMetrics(registry).closed_window("prod-1", 2, 250)
    return registry


def metrics_of_live() -> list[Metric]:
    live = LivePage(load_settings(LiveSettings, []))
    live.take(observation(time.time(), committed={topic: {0: 0} for topic in READERS}))

    async def answer() -> web.StreamResponse:
        return await live.probes()["/metrics"](make_mocked_request("GET", "/metrics"))

    response = asyncio.run(answer())
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    return list(text_string_to_metric_families(response.body.decode()))


def served(registry: CollectorRegistry) -> list[Metric]:
    with HealthServer(Health(), registry, "127.0.0.1", 0) as server:
        return list(text_string_to_metric_families(get(server.port)))


def get(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = response.read().decode()
    connection.close()
    return text


def sample_names(metric: Metric) -> str:
    return metric.name + "_total" if metric.type == "counter" else metric.name


def documented_metrics() -> dict[str, tuple[str, set[str], set[str]]]:
    """Type, labels and services by name, as in the table."""
    rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    documented: dict[str, tuple[str, set[str], set[str]]] = {}
    everyone = {"generator", "processor", "analytics", "sink", "live"}
    for names, kind, labels, _, services in rows:
        named = {each for each in everyone if each in services}
        who = everyone - named if services.startswith("all") else named
        for name in re.findall(r"`([a-z_]+)`", names):
            documented[name] = (kind, set(re.findall(r"`([a-z_]+)`", labels.partition(":")[0])), who)
    return documented


@pytest.mark.parametrize("service", ["generator", "processor", "analytics", "sink", "live"])
def test_each_service_exports_exactly_the_documented_metrics(service: str) -> None:
    exported = metrics_of_live() if service == "live" else served(registry_of(service))
    metrics = {sample_names(metric): metric for metric in exported}
    table = {name: row for name, row in documented_metrics().items() if service in row[2]}
    assert metrics.keys() == table.keys()
    for name, metric in metrics.items():
        kind, labels, _ = table[name]
        assert metric.documentation
        assert kind in ("", metric.type)
        if service == "sink" and name not in ("pipeline_healthy", *ABOUT_THE_PROCESS):
            labels = labels | {"output"}
        assert {label for sample in metric.samples for label in sample.labels} - {"le"} == labels, name


@pytest.mark.parametrize("service", ["generator", "processor", "analytics", "sink"])
def test_names_and_labels_follow_the_conventions(service: str) -> None:
    for metric in served(registry_of(service)):
        name = sample_names(metric)
        assert re.fullmatch(r"(pipeline|process)_[a-z][a-z_]*[a-z]", name)
        assert name.endswith(UNITS) or name in ("process_open_fds", "process_max_fds")
        assert (metric.type == "counter") == name.endswith("_total")
        assert not name.endswith(("_ms", "_milliseconds", "_cents"))
        assert {label for sample in metric.samples for label in sample.labels} <= LABELS


@pytest.mark.parametrize("service", ["generator", "processor", "analytics", "sink"])
def test_counters_exist_from_the_start(service: str) -> None:
    """Otherwise rate() would miss the first increment."""
    for metric in served(registry_of(service)):
        assert metric.samples or metric.type != "counter" or metric.name.startswith("pipeline_closed_"), metric.name
    if service in ("generator", "processor"):
        name = "pipeline_faulty_orders" if service == "generator" else "pipeline_dead_letters"
        (found,) = [metric for metric in served(registry_of(service)) if metric.name == name]
        assert {value for sample in found.samples for value in sample.labels.values()} == set(Reason)


def test_a_revoked_partition_loses_its_gauges_but_counters_remain() -> None:
    registry = CollectorRegistry()
    stage = StageMetrics(registry, "orders", ["processed-orders"], stateful=True, from_senders=True)
    for partition in (1, 2):
        stage.progress(partition, 5, 1000.0, 7, 0.5)
    stage.committed(40, {"processed-orders": 39}, 0.1)
    stage.forget(1)
    stage.forget(1)
    partitions = {
        sample.labels["partition"] for m in served(registry) for sample in m.samples if "partition" in sample.labels
    }
    assert partitions == {"2"}
    assert registry.get_sample_value("pipeline_records_consumed_total", {"topic": "orders"}) == 40
    assert registry.get_sample_value("pipeline_records_produced_total", {"topic": "processed-orders"}) == 39


def test_an_unknown_watermark_is_not_exported() -> None:
    registry = CollectorRegistry()
    StageMetrics(registry, "orders", [], stateful=False).progress(0, 0, None, 0)
    assert (
        registry.get_sample_value("pipeline_watermark_timestamp_seconds", {"topic": "orders", "partition": "0"}) is None
    )


def test_products_beyond_the_first_fifty_share_a_series() -> None:
    registry = CollectorRegistry()
    metrics = WindowMetrics(registry)
    for _ in range(2):
        for number in range(200):
            metrics.closed_window(f"prod-{number}", 3, 1001)
    (orders,) = [metric for metric in served(registry) if metric.name == "pipeline_closed_orders"]
    assert len(orders.samples) == 51
    assert registry.get_sample_value("pipeline_closed_orders_total", {"product_id": "prod-49"}) == 6
    assert registry.get_sample_value("pipeline_closed_orders_total", {"product_id": "other"}) == 150 * 6
    revenue = registry.get_sample_value("pipeline_closed_revenue_dollars_total", {"product_id": "other"})
    assert revenue == pytest.approx(150 * 20.02, abs=1e-6)


def test_the_log_line_has_the_counters_above_zero() -> None:
    registry = CollectorRegistry()
    metrics = OrderMetrics(registry, Reason)
    Counter("other", "Not ours.", registry=registry).inc()
    metrics.processed.inc(3)
    metrics.dead_letters[Reason.MALFORMED].inc()
    assert totals(registry) == {"orders_processed": 3, "dead_letters_malformed": 1}


def test_the_sink_observes_each_window_once_per_write() -> None:
    registry = CollectorRegistry()
    metrics = SinkMetrics(registry, "product-metrics", ["file", "database"]).outputs
    lines = [b'{"window_end":%d,"product_id":"a"}' % end_s for end_s in (60, 60, 120)]
    writer = FileWriter(MetricsFile(Path("metrics.json"), "product-metrics"))
    items = writer.parse([*lines, b"{}", b'{"window_end":"x"}'])
    report_written(writer, MetricBatch(items), [], metrics["file"], 130.0)
    assert registry.get_sample_value("pipeline_metrics_written_total", {"output": "file"}) == 5
    assert registry.get_sample_value("pipeline_metrics_written_total", {"output": "database"}) == 0
    assert registry.get_sample_value("pipeline_event_latency_seconds_count", {"output": "file"}) == 2
    assert registry.get_sample_value("pipeline_event_latency_seconds_sum", {"output": "file"}) == 80.0


async def test_metrics_are_served_while_the_event_loop_is_blocked() -> None:
    with HealthServer(Health(), registry_of("processor"), "127.0.0.1", 0) as server:
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(get(server.port)))
        asking.start()
        asking.join(600)  # which blocks the event loop that runs this
        assert "pipeline_orders_processed_total" in answers[0]


def test_silent_or_disconnecting_clients_do_not_affect_others(capfd: pytest.CaptureFixture[str]) -> None:
    with HealthServer(Health(), registry_of("sink"), "127.0.0.1", 0) as server:
        silent = socket.create_connection(("127.0.0.1", server.port))
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                rude.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert "pipeline_standby" in get(server.port)
        silent.close()
    assert capfd.readouterr().err == ""
