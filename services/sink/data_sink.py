"""The sink: writes each metric of ``product-metrics`` exactly once into a file, into a database, or into both."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.runtime.service.startup_signals import exit_on_stop_signals

if __name__ == "__main__":
    exit_on_stop_signals()  # the imports below take a second or more

from libs.events.rights import sink_role
from libs.events.topics import PRODUCT_METRICS, SINK_GROUPS
from libs.runtime.life_cycle import Context, run_service
from services.sink.consumer_loop import OutputLoop
from services.sink.database.connecting import database_at
from services.sink.database.database_writer import DatabaseWriter
from services.sink.database.session import Identity
from services.sink.file.converter import Converter
from services.sink.file.file_writer import FileWriter
from services.sink.file.metrics_file import MetricsFile
from services.sink.metrics_writer import MetricsWriter
from services.sink.outputs import run_all
from services.sink.sink_metrics import SinkMetrics
from services.sink.sink_settings import SinkSettings


async def run(context: Context[SinkSettings]) -> None:
    """Copy the topic into each output until asked to stop."""
    await copy_into(writers_of(context), context)


def writers_of(context: Context[SinkSettings], file: MetricsFile | None = None) -> list[MetricsWriter[Any]]:
    """The writer of each output in the settings; ``file`` replaces the metrics file of the settings."""
    settings, writers = context.settings, list[MetricsWriter[Any]]()
    topic = settings.topic_prefix + PRODUCT_METRICS.name
    if "file" in settings.sink_outputs:
        file = file or MetricsFile(settings.sink_output_path, topic, rotate=settings.rotate())
        converter = None
        if settings.sink_rotated_format != "json":
            converter = Converter(settings.sink_output_path, settings.sink_rotated_format)
        writers.append(FileWriter(file, converter))
    if "database" in settings.sink_outputs:
        database = database_at(settings.database_address())
        writers.append(DatabaseWriter(database, Identity(context.cluster.cluster_id, topic), context.stop))
    return writers


async def copy_into(writers: Sequence[MetricsWriter[Any]], context: Context[SinkSettings]) -> None:
    """Copy the topic into ``writers`` until asked to stop, then close them."""
    metrics = SinkMetrics(context.registry, PRODUCT_METRICS.name, [writer.kind for writer in writers]).outputs
    sinks = {
        writer.kind: OutputLoop(context, writer, metrics[writer.kind], SINK_GROUPS[writer.kind]) for writer in writers
    }
    # From now on each output has its own heartbeats.
    context.health.forget("connected")
    try:
        await run_all(sinks, metrics, context.stop)
    finally:
        for writer in writers:
            await writer.close()


def main() -> None:
    """Run the service."""
    run_service("sink", SinkSettings, [PRODUCT_METRICS], run, lambda settings: sink_role(settings.sink_outputs))


if __name__ == "__main__":
    main()
