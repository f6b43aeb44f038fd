"""The analytics: aggregates orders by product and event-time window, and writes the result of each window once."""

import sys
from collections.abc import Collection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.runtime.service.startup_signals import exit_on_stop_signals

if __name__ == "__main__":
    exit_on_stop_signals()  # the imports below take a second or more

from aiokafka.structs import TopicPartition
from prometheus_client import CollectorRegistry

from libs.events.limits import DECLARED_LIMITS, DerivedLimits, derived_limits
from libs.events.rights import ANALYTICS
from libs.events.topics import (
    ALL_TOPICS,
    ANALYTICS_STATE,
    LATE_ORDERS,
    ORDERS_DLQ,
    PROCESSED_ORDERS,
    PRODUCT_METRICS,
)
from libs.runtime.clock import Clock
from libs.runtime.exactly_once.replica import run_stage
from libs.runtime.exactly_once.stage import Stage
from libs.runtime.life_cycle import Context, run_service
from libs.runtime.metrics import StageMetrics
from services.analytics.analytics_partition import AnalyticsPartition
from services.analytics.analytics_settings import AnalyticsSettings
from services.analytics.window_metrics import WindowMetrics


def make_stage(
    settings: AnalyticsSettings, clock: Clock, registry: CollectorRegistry, limits: DerivedLimits = DECLARED_LIMITS
) -> Stage:
    """From `processed-orders` to `product-metrics` and `late-orders`; the changelog of open windows is `analytics-state`."""
    outputs = (PRODUCT_METRICS, LATE_ORDERS, ORDERS_DLQ, ANALYTICS_STATE)
    metrics = WindowMetrics(registry)

    def logics(sources: Collection[TopicPartition]) -> dict[TopicPartition, AnalyticsPartition]:
        return {
            source: AnalyticsPartition(*source, settings.window_seconds, clock, metrics, limits) for source in sources
        }

    return Stage(
        name="analytics",
        source=PROCESSED_ORDERS,
        outputs=outputs,
        changelog=ANALYTICS_STATE,
        commit_interval_ms=settings.commit_interval_ms,
        fetch_interval_ms=100,  # an order waits for its window to close, which takes seconds
        metrics=StageMetrics(registry, PROCESSED_ORDERS.name, [topic.name for topic in outputs], stateful=True),
        depends_on={"TOPIC_PARTITIONS": settings.topic_partitions, "WINDOW_SECONDS": settings.window_seconds},
        logics=logics,
        independent_partitions=True,  # each has watermarks of its own
    )


async def compute_metrics(context: Context[AnalyticsSettings]) -> None:
    """Run until asked to stop."""
    limits = derived_limits(context.cluster)
    await run_stage(make_stage(context.settings, context.clock, context.registry, limits), context)


def main() -> None:
    """Start the service."""
    run_service("analytics", AnalyticsSettings, ALL_TOPICS, compute_metrics, lambda _: ANALYTICS)


if __name__ == "__main__":
    main()
