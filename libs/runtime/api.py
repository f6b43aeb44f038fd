"""The public interface of the runtime, which a pipeline imports (docs/runtime.md).

Everything else below ``libs/runtime`` may change in any version; a name here changes with an entry in CHANGELOG.md.
"""

from libs.runtime.exactly_once.replica import run_stage
from libs.runtime.exactly_once.stage import PartitionLogic, Progress, Stage, Tally
from libs.runtime.life_cycle import Context, run_service
from libs.runtime.metrics import StageMetrics
from libs.runtime.records import Headers, Output, Record, Row
from libs.runtime.service.settings import ServiceSettings
from libs.runtime.topics.topic import Topic

__all__ = [
    "Context",
    "Headers",
    "Output",
    "PartitionLogic",
    "Progress",
    "Record",
    "Row",
    "ServiceSettings",
    "Stage",
    "StageMetrics",
    "Tally",
    "Topic",
    "run_service",
    "run_stage",
]
