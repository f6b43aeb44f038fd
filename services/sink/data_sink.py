"""The sink: writes each metric of ``product-metrics`` exactly once into a file, one JSON object a line."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that this file can be started by its path alone

from libs.runtime.startup_signals import exit_on_stop_signals

if __name__ == "__main__":
    exit_on_stop_signals()  # the imports below take a second or more

from libs.events.topics import PRODUCT_METRICS
from libs.runtime.service import Context, run_service
from services.sink.consumer_loop import Sink
from services.sink.metrics_file import MetricsFile
from services.sink.sink_settings import SinkSettings


async def run(context: Context[SinkSettings]) -> None:
    """Keep the file equal to the topic until asked to stop."""
    settings = context.settings
    await copy_into(MetricsFile(settings.sink_output_path, settings.topic_prefix + PRODUCT_METRICS.name), context)


async def copy_into(writer: MetricsFile, context: Context[SinkSettings]) -> None:
    """Keep ``writer`` equal to the topic until asked to stop, then close it."""
    try:
        await Sink(context, writer).run()
    finally:
        writer.close()


def main() -> None:
    """Run the service."""
    run_service("sink", SinkSettings, [PRODUCT_METRICS], run)


if __name__ == "__main__":
    main()
