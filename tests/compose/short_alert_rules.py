"""Prometheus' configuration with shorter durations, so that an alert fires within seconds.

Only durations are changed: those of the rules (`interval`, `for`, ranges, and limits that are durations) are divided by
``RULES_SHORTENED``, those of the configuration (intervals) by ``CONFIG_SHORTENED``.
"""

import re
from pathlib import Path

from tests.compose.project import ROOT

PROMETHEUS = ROOT / "monitoring" / "prometheus"
RULES_SHORTENED = 12  # a minute is five seconds
CONFIG_SHORTENED = 5  # scrapes every second

_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


def shortened(text: str, divisor: int) -> str:
    """``text`` with each duration divided."""
    return re.sub(r"\b(\d+)([smh])\b", lambda found: f"{int(found[1]) * _MS[found[2]] // divisor}ms", text)


def write_shortened(directory: Path) -> None:
    """Prometheus' configuration and rules, shortened, into ``directory``."""
    rules, config = (PROMETHEUS / name for name in ("alerts.yml", "prometheus.yml"))
    (directory / rules.name).write_text(shortened(rules.read_text(), RULES_SHORTENED))
    (directory / config.name).write_text(shortened(config.read_text(), CONFIG_SHORTENED))
