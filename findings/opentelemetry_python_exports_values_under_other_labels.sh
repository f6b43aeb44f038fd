#!/bin/sh
# OpenTelemetry for Python 1.45.2 with opentelemetry-exporter-prometheus 0.66b2, two meters with a metric of the same name.
#
# What one would expect: each meter's series have the attributes that were recorded, and otel_scope_name tells the meters apart.
# Names are shared on purpose: OpenTelemetry's conventions have one for all libraries that do the same.
# What happens: a metric has the label names of the meter that comes first. The other meter's values, in the order of their own
# names, are written under these, and what is left over is dropped. If the other meter has one attribute more, values move to the
# next label: the group is the scope, and the topic is gone. Series that differ in what was dropped become one series with two
# samples. Sums by topic lack all that the other meter has counted. There is no error and no warning.
# Seen, for two consumers that count messages, the first one by topic, the second one by group and topic:
#       consumed_total{otel_scope_name="orders-consumer",topic="orders"} 100
#       consumed_total{otel_scope_name="audit",otel_scope_schema_url="audit-consumer"} 20
#       consumed_total{otel_scope_name="audit",otel_scope_schema_url="audit-consumer"} 5
# What to do: a view that gives one of the meters another name, or both the same attributes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2 opentelemetry-exporter-prometheus==0.66b2
cat >labels.py <<'PYTHON'
from collections import Counter

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import View
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families


def consumed_by_topic(views=()):
    registry = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=registry)], views=views)
    orders = provider.get_meter("orders-consumer").create_counter("consumed")
    orders.add(100, {"topic": "orders"})
    audit = provider.get_meter("audit-consumer").create_counter("consumed")
    audit.add(20, {"group": "audit", "topic": "orders"})
    audit.add(5, {"group": "audit", "topic": "payments"})
    topics, series = Counter(), Counter()
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            if sample.name in {"consumed_total", "orders_consumed_total"}:
                labels = {name: value for name, value in sample.labels.items() if value}
                print(f"  {sample.name} {labels} {int(sample.value)}")
                topics[sample.labels["topic"]] += int(sample.value)
                series[sample.name, *sorted(sample.labels.items())] += 1
    return dict(topics), max(series.values())


print("one name:")
topics, samples_of_a_series = consumed_by_topic()
print("by topic:", topics, "samples of one series:", samples_of_a_series)
assert topics == {"orders": 100, "": 25}, "changed: the sums by topic are others"
assert samples_of_a_series == 2, "changed: each series is there once"

print("with another name for the first meter's counter:")
topics, samples_of_a_series = consumed_by_topic(
    [View(instrument_name="consumed", meter_name="orders-consumer", name="orders_consumed")]
)
print("by topic:", topics, "samples of one series:", samples_of_a_series)
assert topics == {"orders": 120, "payments": 5}, "changed: another name does not help"
assert samples_of_a_series == 1, "changed: a series is there twice"
print("as stated: the second meter's values are under the first one's labels")
PYTHON
venv/bin/python labels.py
