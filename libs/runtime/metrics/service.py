"""The metrics of every service."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector


class ServiceMetrics:
    """The metrics of every service."""

    def __init__(self, registry: CollectorRegistry, is_healthy: Callable[[], bool]) -> None:
        ProcessCollector(registry=registry)
        healthy = Gauge("pipeline_healthy", "1 while /health says so, otherwise 0.", registry=registry)
        healthy.set_function(lambda: float(is_healthy()))
