"""All Prometheus metrics of the pipeline. docs/metrics.md is their table, and a test compares the two.

Each class has the metrics of one kind of service; a service creates those it needs in the registry that it serves. Metrics are
not updated for each record: the results of a transaction are added when it is committed.
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

# They add a series for each counter, with the same information as process_start_time_seconds.
disable_created_metrics()  # type: ignore[no-untyped-call]
