"""Settings of the live page."""

from pydantic import Field

from libs.runtime.service.settings import ServiceSettings


class LiveSettings(ServiceSettings):
    """Settings of the live page; of the services' own it heeds the broker, the prefix and the logs."""

    live_host: str = Field("127.0.0.1", min_length=1, description="address that the page is served on; 0.0.0.0 for all")
    live_port: int = Field(8080, ge=0, le=65535, description="port of the page; 0 takes a free one")
    window_seconds: int = Field(60, ge=1, description="the pipeline's windows, in seconds")
