"""The sink's settings."""

from pathlib import Path

from pydantic import Field

from libs.runtime.settings import ServiceSettings


class SinkSettings(ServiceSettings):
    """Appends metrics to a file, each once: `product-metrics` to `output/metrics.json`."""

    sink_output_path: Path = Field(
        Path("output/metrics.json"), description="file that the metrics are written to, one JSON object a line"
    )
