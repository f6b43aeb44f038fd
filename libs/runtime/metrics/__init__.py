"""The Prometheus metrics of every service and of every stage. docs/metrics.md is the table of all, and a test compares the two.

A service creates those it needs, and its own, in the registry that it serves. Metrics are not updated for each record: the
results of a transaction are added when it is committed.
"""

from prometheus_client import disable_created_metrics

from libs.runtime.metrics.service import ServiceMetrics
from libs.runtime.metrics.stage import StageMetrics
from libs.runtime.metrics.totals import totals, values_of

__all__ = [
    "ServiceMetrics",
    "StageMetrics",
    "totals",
    "values_of",
]

# They add a series for each counter, with the same information as process_start_time_seconds.
disable_created_metrics()  # type: ignore[no-untyped-call]
