"""Writes the Prometheus alerts as a PrometheusRule, the resource of the Prometheus Operator."""

import textwrap
from pathlib import Path

_ROOT = Path(__file__).parents[1]
ALERTS = _ROOT / "monitoring" / "prometheus" / "alerts.yml"
PROMETHEUS_RULE = _ROOT / "kubernetes" / "components" / "monitoring" / "alerts.yaml"

_HEAD = """\
# Made from monitoring/prometheus/alerts.yml by `make dashboards`: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: order-pipeline
spec:
"""


def prometheus_rule(alerts: str) -> str:
    """The resource's text, comments included; ``alerts`` is the text of a rule file."""
    return _HEAD + textwrap.indent(alerts, "  ")


def main() -> None:
    """Write it."""
    PROMETHEUS_RULE.write_text(prometheus_rule(ALERTS.read_text()))


if __name__ == "__main__":
    main()
