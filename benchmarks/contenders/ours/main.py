"""This pipeline's own services, with their own defaults: only the benchmark's names are turned into theirs."""

import os
import sys

ENTRY_FILES = {
    "processor": "services/processor/order_processor.py",
    "analytics": "services/analytics/analytics_engine.py",
}

os.environ.update(
    KAFKA_BOOTSTRAP_SERVERS=os.environ["BENCH_BOOTSTRAP"],
    TOPIC_PREFIX=os.environ["BENCH_PREFIX"],
    PROCESSOR_CATALOGUE_PATH=os.environ["BENCH_CATALOGUE"],
)
# The same process goes on as the service: nothing of this file is left to be measured.
os.execv(sys.executable, [sys.executable, ENTRY_FILES[os.environ["BENCH_STAGE"]]])  # noqa: S606
