"""Runs the sink's outputs concurrently and independently of each other."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import structlog

from libs.runtime.errors import PipelineError
from libs.runtime.service.stop_requests import unless_stopped
from services.sink.sink_metrics import OutputMetrics

log = structlog.get_logger()

_TRY_AGAIN_S = 15.0


class RunnableOutput(Protocol):
    """An output that can be run."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Run until asked to stop; raises ``PipelineError`` if the output cannot be used."""
        ...


async def run_all(
    outputs: Mapping[str, RunnableOutput], metrics: Mapping[str, OutputMetrics], stop: asyncio.Event
) -> None:
    """Run every output until ``stop`` is set.

    A failed output is retried every 15 seconds for as long as another one works; if none works any more, the error of the
    last one is raised.
    """
    working = set(outputs)

    async def keep_running(name: str) -> None:
        while not stop.is_set():
            working.add(name)
            try:
                await outputs[name].run()
            except PipelineError as error:
                working.discard(name)
                metrics[name].retries["failed"].inc()
                if not working:
                    raise
                failure = {"output": name, "error": str(error), "advice": error.advice}
                log.error("an output failed, the other one continues", **failure)  # noqa: TRY400
                await unless_stopped(asyncio.sleep(_TRY_AGAIN_S), stop)

    tasks = [asyncio.ensure_future(keep_running(name)) for name in outputs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
