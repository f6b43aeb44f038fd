"""Settings of the analytics."""

from pydantic import Field

from libs.runtime.service.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    """Counts, sums and averages orders per product and window: `processed-orders` to `product-metrics`."""

    window_seconds: int = Field(60, ge=1, le=86_400, description="length of a tumbling window")
    commit_interval_ms: int = Field(
        100,
        ge=0,
        le=5_000,
        description="how long a transaction collects records; in a backlog three times as long; below 100 also how far "
        "apart fetches of few records are",
    )
