"""The options by which every command that looks at a pipeline finds it."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.types import PositiveInt

from libs.runtime.kafka_client.bootstrap_servers import parse_bootstrap_servers


def _servers(_: object, text: str | None) -> None:
    if text is None:
        return
    try:
        parse_bootstrap_servers(text)
    except ValueError as error:
        raise ValueError(f"It is no host:port, nor several with commas: {error}.") from error


@Parameter(name="*", group=Group("Which pipeline", sort_key=10))
@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Which pipeline is meant; what is not given is found (``cli.context``)."""

    bootstrap: Annotated[str | None, Parameter(validator=_servers)] = None
    """host:port of a broker, or several with commas."""

    topic_prefix: str | None = None
    """The pipeline's TOPIC_PREFIX."""

    window_seconds: PositiveInt | None = None
    """The pipeline's WINDOW_SECONDS."""


FOUND = PipelineOptions()
"""Nothing is given."""
