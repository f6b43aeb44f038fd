#!/bin/sh
# OpenTelemetry for JavaScript (@opentelemetry/sdk-metrics 2.12.1), a view that drops an attribute of an observable counter.
#
# What one would expect: measurements that differ only in the dropped attribute are added up. So they are for a counter that is not
# observable, and for observable ones in OpenTelemetry for Python, Java and Go.
# What happens: each measurement of the callback replaces the one before it, and the last one is exported as the sum. A view that
# drops the partition, to have fewer series, makes the records of one partition the topic's total. If the callback has the
# partitions in another order, as after a rebalance, it is another partition, and a counter that falls looks like a restart. There
# is no error and no warning.
# Seen, for partitions with 100, 200 and 30 records, by topic:
#       counter: 330
#       observable_counter: 30, with 10 more records in each partition 40, then in reverse order 110
#       observable_up_down_counter: 30
#       observable_counter in Python: 330
# What to do: no such view for observable counters; add the measurements up in the callback.
# Also reported, of Go, which adds them up since then: https://github.com/open-telemetry/opentelemetry-go/issues/3439
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --no-save @opentelemetry/api@1.9.1 @opentelemetry/sdk-metrics@2.12.1 >npm.log 2>&1 || { cat npm.log; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2
cat >count.mjs <<'JAVASCRIPT'
import { createDenyListAttributesProcessor, MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";

class ManualReader extends MetricReader {
  async onForceFlush() {}
  async onShutdown() {}
}

const reader = new ManualReader();
const views = [{ instrumentName: "*", attributesProcessors: [createDenyListAttributesProcessor(["partition"])] }];
const meter = new MeterProvider({ readers: [reader], views }).getMeter("consumer");

const records = [100, 200, 30]; // by partition
let partitions = [0, 1, 2];
const attributes = (partition) => ({ topic: "orders", partition });
const observe = (result) => partitions.forEach((partition) => result.observe(records[partition], attributes(partition)));

const counter = meter.createCounter("counter");
partitions.forEach((partition) => counter.add(records[partition], attributes(partition)));
meter.createObservableCounter("observable_counter").addCallback(observe);
meter.createObservableUpDownCounter("observable_up_down_counter").addCallback(observe);

async function collect() {
  const { resourceMetrics, errors } = await reader.collect();
  if (errors.length) {
    throw errors[0];
  }
  for (const { descriptor, dataPoints } of resourceMetrics.scopeMetrics[0].metrics) {
    for (const { attributes, value } of dataPoints) {
      console.log(`${descriptor.name} of ${attributes.topic}: ${value}`);
    }
  }
}

await collect();
console.log("with 10 more records in each partition:");
partitions.forEach((partition) => {
  records[partition] += 10;
  counter.add(10, attributes(partition));
});
await collect();
console.log("in reverse order:");
partitions = partitions.reverse();
await collect();
JAVASCRIPT
cat >count.py <<'PYTHON'
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View


def observe(_options):
    for partition, records in enumerate((100, 200, 30)):
        yield Observation(records, {"topic": "orders", "partition": partition})


reader = InMemoryMetricReader()
provider = MeterProvider([reader], views=[View(instrument_name="*", attribute_keys={"topic"})])
provider.get_meter("consumer").create_observable_counter("observable_counter", [observe])
(metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
for point in metric.data.data_points:
    print(f"in Python, {metric.name} of {point.attributes['topic']}: {point.value}")
PYTHON
node count.mjs | tee seen
venv/bin/python count.py | tee -a seen
cat >stated <<'SEEN'
counter of orders: 330
observable_counter of orders: 30
observable_up_down_counter of orders: 30
with 10 more records in each partition:
counter of orders: 360
observable_counter of orders: 40
observable_up_down_counter of orders: 40
in reverse order:
counter of orders: 360
observable_counter of orders: 110
observable_up_down_counter of orders: 110
in Python, observable_counter of orders: 330
SEEN
diff seen stated || { echo "changed: see above"; exit 1; }
echo "as stated: the last partition is the topic's total"
