#!/bin/sh
# Airflow 3.3.2, Apache Kafka provider 2.1.0, KafkaSharedStreamTrigger in an AssetWatcher.
#
# What one would expect: "The shared consumer commits the offset of a message only after the trigger events from that message
#   are saved to the metadata database" (the provider's documentation, Triggers). Kafka values are bytes.
# What happens: a value that is no UTF-8 raises in the trigger. Its offset is committed, no event is ever stored for it, and the
#   trigger goes on behind it: the record is lost for whatever is scheduled by the asset.
# Seen: three records, committed up to 3, events: ['first', 'third']
# What to do: a subclass whose filter_shared_stream does not decode, and yields an event for every record or raises for none.
set -eu
folder=$(mktemp -d)
triggerer=
trap 'if [ -n "$triggerer" ]; then kill "$triggerer" && wait "$triggerer" || true; fi; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --prefer-binary \
    apache-airflow==3.3.2 apache-airflow-providers-apache-kafka==2.1.0 structlog==26.1.0 confluent-kafka==2.16.1
mkdir "$folder/dags"
cat >"$folder/dags/watch.py" <<'PYTHON'
from airflow.providers.apache.kafka.triggers.shared_stream import KafkaSharedStreamTrigger
from airflow.sdk import DAG, Asset, AssetWatcher

trigger = KafkaSharedStreamTrigger(topics=["letters"], kafka_config_id="mock")
letters = Asset("letters", watchers=[AssetWatcher(name="letters", trigger=trigger)])
with DAG("watch", schedule=[letters], is_paused_upon_creation=False):
    pass
PYTHON
cat >"$folder/broker.py" <<'PYTHON'
"""librdkafka's own mock broker, three records in it, and what the consumer group has committed."""
import pathlib
import time

from confluent_kafka import Consumer, Producer, TopicPartition

folder = pathlib.Path(__file__).parent
producer = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
(broker,) = producer.list_topics(timeout=30).brokers.values()
address = f"{broker.host}:{broker.port}"
for value in (b"first", b"\xff\xfe", b"third"):
    producer.produce("letters", value, partition=0)
assert producer.flush(30) == 0
(folder / "address.new").write_text(address)
(folder / "address.new").rename(folder / "address")
looks = Consumer({"bootstrap.servers": address, "group.id": "watchers"})
while True:
    (found,) = looks.committed([TopicPartition("letters", 0)], timeout=30)
    (folder / "committed.new").write_text(str(max(found.offset, 0)))
    (folder / "committed.new").rename(folder / "committed")
    time.sleep(0.5)
PYTHON
"$folder/venv/bin/python" "$folder/broker.py" &
broker=$!
trap 'kill "$broker" || true; if [ -n "$triggerer" ]; then kill "$triggerer" && wait "$triggerer" || true; fi; rm -rf "$folder"' EXIT
tries=0
until [ -e "$folder/address" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || exit 1
    sleep 1
done
export AIRFLOW_HOME="$folder/airflow" AIRFLOW__CORE__DAGS_FOLDER="$folder/dags" AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False PATH="$folder/venv/bin:$PATH"
export AIRFLOW_CONN_MOCK="{\"conn_type\": \"kafka\", \"extra\": {\"bootstrap.servers\": \"$(cat "$folder/address")\",
    \"group.id\": \"watchers\", \"enable.auto.commit\": \"false\", \"auto.offset.reset\": \"earliest\"}}"
airflow db migrate >"$folder/migrate.log" 2>&1
airflow dag-processor --num-runs 1 >"$folder/processor.log" 2>&1
airflow triggerer >"$folder/triggerer.log" 2>&1 &
triggerer=$!
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import pathlib
import sqlite3
import sys
import time

folder = pathlib.Path(sys.argv[1])
database = sqlite3.connect(f"file:{folder}/airflow/airflow.db?mode=ro", uri=True)


def found():
    rows = database.execute("select extra from asset_event order by id").fetchall()
    return int((folder / "committed").read_text()), [json.loads(extra)["payload"] for (extra,) in rows]


deadline = time.monotonic() + 180
while found()[0] < 3 and time.monotonic() < deadline:
    time.sleep(1)
committed, events = found()
print("three records, committed up to", committed, "events:", events)
assert committed == 3, "changed: the record is not committed"
assert events == ["first", "third"], "changed: there is an event for each record"
assert "UnicodeDecodeError" in (folder / "triggerer.log").read_text(), "changed: it is no decoding error any more"
print("as stated: the record that is no UTF-8 is committed without an event")
PYTHON
