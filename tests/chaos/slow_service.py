"""A slow processor or analytics: each record blocks it for SLOW_SERVICE_MS."""

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from aiokafka.structs import TopicPartition

from libs.events.rights import ANALYTICS, PROCESSOR
from libs.events.topics import ALL_TOPICS
from libs.runtime.exactly_once.replica import run_stage
from libs.runtime.exactly_once.stage import PartitionLogic, Stage
from libs.runtime.life_cycle import Context, run_service
from libs.runtime.records import Output, Record
from services.analytics import analytics_engine
from services.analytics.analytics_settings import AnalyticsSettings
from services.processor import order_processor
from services.processor.processor_settings import ProcessorSettings

# Heartbeats are sent between batches: a longer batch would cost the group membership, which is another fault.
_BATCH_SIZE = 50

_Process = Callable[[Sequence[Record], Output], None]


def _slow(stage: Stage) -> Stage:
    cost_s = float(os.environ["SLOW_SERVICE_MS"]) / 1000

    def logics(sources: Collection[TopicPartition]) -> Mapping[TopicPartition, PartitionLogic]:
        made = stage.logics(sources)
        for logic in made.values():
            slowed: Any = logic  # everything else is unchanged
            slowed.process = _slowed(logic.process, cost_s)
        return made

    return replace(stage, logics=logics, batch_size=_BATCH_SIZE)


def _slowed(process: _Process, cost_s: float) -> _Process:
    def slow_process(records: Sequence[Record], output: Output) -> None:
        time.sleep(cost_s * len(records))
        process(records, output)

    return slow_process


async def _process(context: Context[ProcessorSettings]) -> None:
    await run_stage(_slow(order_processor.make_stage(context.settings, context.clock, context.registry)), context)


async def _analyse(context: Context[AnalyticsSettings]) -> None:
    await run_stage(_slow(analytics_engine.make_stage(context.settings, context.clock, context.registry)), context)


if __name__ == "__main__":
    if os.environ["SLOW_SERVICE"] == "processor":
        run_service("processor", ProcessorSettings, ALL_TOPICS, _process, lambda _: PROCESSOR)
    else:
        run_service("analytics", AnalyticsSettings, ALL_TOPICS, _analyse, lambda _: ANALYTICS)
