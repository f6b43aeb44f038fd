"""The metrics of every service."""

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from libs.runtime.service.health import Health


class ServiceMetrics:
    """The metrics of every service."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        ProcessCollector(registry=registry)
        healthy = Gauge("pipeline_healthy", "1 while /health says so, otherwise 0.", registry=registry)
        healthy.set_function(lambda: float(health.report()[0]))
