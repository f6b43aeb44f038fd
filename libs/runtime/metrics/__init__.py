"""All metrics of the pipeline, as Prometheus sees them. docs/metrics.md is their table, and a test compares the two.

A class holds what one kind of service tells; each service makes those it needs in the registry that it serves. Nothing is
counted per record: what a transaction did is added when it is committed.
"""

from prometheus_client import disable_created_metrics

from libs.runtime.metrics.generator import GeneratorMetrics
from libs.runtime.metrics.orders import OrderMetrics
from libs.runtime.metrics.service import ServiceMetrics
from libs.runtime.metrics.sink import OutputMetrics, SinkMetrics
from libs.runtime.metrics.stage import StageMetrics
from libs.runtime.metrics.totals import totals, values_of
from libs.runtime.metrics.windows import WindowMetrics

__all__ = [
    "GeneratorMetrics",
    "OrderMetrics",
    "OutputMetrics",
    "ServiceMetrics",
    "SinkMetrics",
    "StageMetrics",
    "WindowMetrics",
    "totals",
    "values_of",
]

# A series for each counter, with what process_start_time_seconds says already.
disable_created_metrics()  # type: ignore[no-untyped-call]
