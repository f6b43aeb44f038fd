"""A part of the pipeline: one process of local mode, or one container."""

from collections.abc import Mapping
from dataclasses import dataclass

INFRASTRUCTURE = ("zookeeper", "kafka")
"""What the services cannot do without; the first one first."""

SERVICES = ("generator", "processor", "analytics", "sink")


@dataclass(frozen=True)
class Part:
    """``name`` is the replica's name; ``problem`` is empty if it is healthy, or was stopped on purpose.

    ``is_starting``: it is not healthy yet, and whoever runs it does not expect it to be.
    """

    name: str
    service: str
    problem: str
    is_stopped: bool = False
    is_starting: bool = False

    @property
    def is_healthy(self) -> bool:
        return not self.problem and not self.is_stopped


@dataclass(frozen=True)
class StartPlan:
    """The parameters of a start; ``settings`` are the services' environment variables."""

    processors: int
    analytics: int
    settings: Mapping[str, str]
