"""Settings of the processor."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from libs.runtime.service.settings import ServiceSettings
from services.processor.catalogue import load_catalogue


class ProcessorSettings(ServiceSettings):
    """Validates and enriches orders: `orders` to `processed-orders`, bad ones to `orders-dlq`."""

    processor_batch_size: int = Field(50, ge=1, le=100_000, description="the most orders that are processed at a time")
    processor_catalogue_path: Path = Field(
        Path(__file__).with_name("catalogue.json"),
        description="JSON object of product ids and the fields to add to their orders",
    )
    processor_accept_offsets: bool = Field(
        False,
        description="start at offsets that the processor has not committed itself: after an intended reset, or once "
        "after an upgrade from a version before 0.2",
    )
    commit_interval_ms: int = Field(
        100,
        ge=0,
        le=5_000,
        description="how long a transaction collects records; in a backlog three times as long; below 70 also how far "
        "apart fetches of few records are",
    )
    max_out_of_orderness_seconds: float = Field(
        5.0,
        ge=0,
        le=86_400,
        description="an order may be this much older than the newest one of its partition and still be on time",
    )
    idle_after_seconds: float = Field(
        10.0, ge=1, le=86_400, description="a partition without new orders for this long follows the clock"
    )
    window_seconds: int = Field(
        60,
        ge=1,
        le=86_400,
        description="length of the analytics' windows; if none is open, an idle pipeline writes nothing",
    )
    max_event_age_seconds: float | None = Field(
        None,
        ge=0,
        le=315_360_000,
        description="how far an order's event time may be behind its arrival while windows still wait for it; at least"
        " MAX_OUT_OF_ORDERNESS_SECONDS, up to ten years; default: without limit, as a backfill needs it",
    )

    @field_validator("processor_catalogue_path")
    @classmethod
    def _holds_a_catalogue(cls, path: Path) -> Path:
        load_catalogue(path)
        return path

    @field_validator("max_event_age_seconds")
    @classmethod
    def _is_at_least_out_of_orderness(cls, age_s: float | None, info: ValidationInfo) -> float | None:
        least_s = info.data.get("max_out_of_orderness_seconds")  # missing if it is wrong itself
        if age_s is not None and least_s is not None and age_s < least_s:
            raise ValueError(f"must be at least MAX_OUT_OF_ORDERNESS_SECONDS, which is {least_s:g}")
        return age_s
