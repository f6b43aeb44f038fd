"""The options that name a pipeline, shared by all commands that read one."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.types import PositiveInt

from libs.runtime.kafka_security.bootstrap_servers import parse_bootstrap_servers


def _servers(_: object, text: str | None) -> None:
    if text is not None:
        parse_bootstrap_servers(text)


@Parameter(name="*", group=Group("Which pipeline", sort_key=10))
@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """The pipeline that a command reads. ``cli.context`` finds everything that is not given."""

    bootstrap: Annotated[str | None, Parameter(validator=_servers)] = None
    """host:port of a broker, or several with commas."""

    local: bool = False
    """The pipeline in local mode, even if KAFKA_BOOTSTRAP_SERVERS names another or Docker Compose runs one."""

    topic_prefix: str | None = None
    """The pipeline's TOPIC_PREFIX."""

    window_seconds: PositiveInt | None = None
    """The pipeline's WINDOW_SECONDS."""


FOUND = PipelineOptions()
"""No option is given."""
