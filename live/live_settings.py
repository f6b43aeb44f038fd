"""Settings of the live page."""

from pydantic import Field, field_validator

from libs.runtime.http_server.allowed_hosts import parse_host_names
from libs.runtime.service.settings import ServiceSettings


class LiveSettings(ServiceSettings):
    """Settings of the live page; of the services' common settings it uses the broker, the prefix and the logs."""

    live_host: str = Field("127.0.0.1", min_length=1, description="address that the page is served on; 0.0.0.0 for all")
    live_port: int = Field(8080, ge=0, le=65535, description="port of the page; 0 takes a free one")
    live_allowed_hosts: str = Field(
        "",
        description="names that the page is addressed by, with commas, besides localhost and IP addresses; * for any name",
    )
    live_path_prefix: str = Field(
        "",
        pattern=r"^((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?)$",
        description="what a reverse proxy puts before the page's paths and does not take away, such as /orders",
    )
    window_seconds: int = Field(60, ge=1, description="the pipeline's windows, in seconds")

    @field_validator("live_allowed_hosts")
    @classmethod
    def _are_host_names(cls, names: str) -> str:
        return ",".join(parse_host_names(names))

    @field_validator("live_path_prefix")
    @classmethod
    def _without_the_last_slash(cls, prefix: str) -> str:
        return prefix.removesuffix("/")
