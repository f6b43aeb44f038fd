"""This pipeline's services with their defaults; only translates the benchmark's environment variables."""

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
# The service replaces this process, so that this file is not part of the measurement.
os.execv(sys.executable, [sys.executable, ENTRY_FILES[os.environ["BENCH_STAGE"]]])  # noqa: S606
