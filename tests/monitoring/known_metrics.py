"""The names of all existing metrics: those of docs/metrics.md, and those of other programs than the services."""

import re

from tests.monitoring.queries import ROOT, RULES

# Metrics of Prometheus itself, and of the client library.
COMMON = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds", "up"}


def documented() -> set[str]:
    """The names in the first column of docs/metrics.md, with the series that the client library creates for a histogram."""
    table = (ROOT / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^\| `(\w+)", table, re.MULTILINE))
    return names | {name + suffix for name in names for suffix in ("_bucket", "_count", "_sum")}


def recorded_metrics() -> set[str]:
    """The names of the recording rules."""
    return set(re.findall(r"^ +- record: (\S+)", RULES.read_text(), re.MULTILINE))


KNOWN_METRICS = documented() | COMMON
