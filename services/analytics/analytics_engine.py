"""The analytics: what each product sold, per event-time window, each window once."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.events.topics import (
    ALL_TOPICS,
    ANALYTICS_STATE,
    LATE_ORDERS,
    ORDERS_DLQ,
    PROCESSED_ORDERS,
    PRODUCT_METRICS,
)
from libs.runtime.group import run_stage
from libs.runtime.logic import Stage
from libs.runtime.service import Context, run_service
from services.analytics.analytics_settings import AnalyticsSettings
from services.analytics.metrics_partition import MetricsPartition

# Between two looks around: a batch is all in memory and costs a few milliseconds.
BATCH_SIZE = 500


async def compute_metrics(context: Context[AnalyticsSettings]) -> None:
    """Run until asked to stop."""
    settings = context.settings

    def logic(partition: int) -> MetricsPartition:
        return MetricsPartition(partition, settings.window_seconds, context.clock)

    stage = Stage(
        name="analytics",
        source=PROCESSED_ORDERS,
        outputs=(PRODUCT_METRICS, LATE_ORDERS, ORDERS_DLQ, ANALYTICS_STATE),
        changelog=ANALYTICS_STATE,
        batch_size=BATCH_SIZE,
        commit_interval_ms=settings.commit_interval_ms,
        logic=logic,
    )
    await run_stage(stage, context)


def main() -> None:
    """Start the service."""
    run_service("analytics", AnalyticsSettings, ALL_TOPICS, compute_metrics)


if __name__ == "__main__":
    main()
