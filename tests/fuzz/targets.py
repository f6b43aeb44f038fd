"""All targets, with their shares of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.fuzz.analytics import Changelog, ProcessedOrders
from tests.fuzz.orders import Orders
from tests.fuzz.sink import Checkpoints, DamagedFiles, Metrics
from tests.fuzz.startup import Catalogues, Settings
from tests.fuzz.target import Target


@dataclass(frozen=True)
class Kind:
    """A target and its ``share`` of a run's inputs, lower if an input takes milliseconds."""

    make: Callable[[Random], Target]
    share: float = 1.0


TARGETS = {
    "orders": Kind(Orders),
    "processed orders": Kind(ProcessedOrders),
    "changelog": Kind(Changelog),
    "metrics": Kind(Metrics),
    "checkpoint": Kind(Checkpoints),
    "damaged file": Kind(DamagedFiles, share=0.005),
    "settings": Kind(Settings, share=0.02),
    "catalogue": Kind(Catalogues, share=0.1),
}
