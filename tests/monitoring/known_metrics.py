"""Names of metrics that there are: those of docs/metrics.md, and what others than the services tell."""

import re

from tests.monitoring.queries import ROOT, RULES

# Of Prometheus itself, and of the client library.
COMMON = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds", "up"}


def documented() -> set[str]:
    """The names in the first column of docs/metrics.md, with what the client library makes of a histogram."""
    table = (ROOT / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^\| `(\w+)", table, re.MULTILINE))
    return names | {name + suffix for name in names for suffix in ("_bucket", "_count", "_sum")}


def recorded_metrics() -> set[str]:
    """What the rules record."""
    return set(re.findall(r"^ +- record: (\S+)", RULES.read_text(), re.MULTILINE))


KNOWN_METRICS = documented() | COMMON
