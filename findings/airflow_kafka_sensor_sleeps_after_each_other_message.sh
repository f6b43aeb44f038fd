#!/bin/sh
# Airflow 3.3.2 with apache-airflow-providers-apache-kafka 2.1.0 and confluent-kafka 2.16.1, AwaitMessageSensor.
#
# What one would expect: poll_interval is, as documented, how long the consumer sleeps "after reaching the end of the Kafka log". So
# the messages before the wanted one are examined as fast as they can be read.
# What happens: the trigger sleeps for poll_interval after each message that is not the wanted one, whether or not more are waiting, and
# never at the end of the log. With the usual five seconds it examines 12 messages a minute. In a topic that gets more, the sensor
# falls behind for ever, and never sees the message that it waits for.
# Seen, for a message behind ten others, which are all there from the start:
#       poll_interval=0: 11 messages examined, the longest of the 10 breaks takes less than 2 s
#       poll_interval=2: 11 messages examined, each of the 10 breaks takes 2 s or more
# What to do: poll_interval=0. poll_timeout is the wait at the end of the log.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check apache-airflow==3.3.2 \
    apache-airflow-providers-apache-kafka==2.1.0 confluent-kafka==2.16.1 apache-airflow-task-sdk==1.3.2 cadwyn==7.0.0 \
    fastapi==0.136.3 pendulum==3.3.0 pydantic==2.14.4 sqlalchemy==2.1.9 starlette==1.10.0 structlog==26.1.0
cd "$folder"
mkdir dags
export AIRFLOW_HOME="$folder" AIRFLOW__CORE__LOAD_EXAMPLES=False PYTHONPATH="$folder"
cat >matching.py <<'PYTHON'
import time

examined_s = []


def wanted(message):
    examined_s.append(time.monotonic())
    return "found" if message.value() == b"wanted" else None
PYTHON
cat >dags/orders.py <<'PYTHON'
import json
import os

from airflow.providers.apache.kafka.sensors.kafka import AwaitMessageSensor
from airflow.sdk import DAG
from confluent_kafka import Producer

import matching

INTERVALS_S = 0, 2


def dag_with(interval_s):
    with DAG(f"orders_{interval_s}", schedule=None) as dag:
        AwaitMessageSensor(
            task_id="await_order",
            topics=["orders"],
            kafka_config_id=f"kafka_{interval_s}",
            apply_function="matching.wanted",
            poll_interval=interval_s,
        )
    return dag


dags = {interval_s: dag_with(interval_s) for interval_s in INTERVALS_S}

if __name__ == "__main__":
    producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})
    kafka = str(next(iter(producer.list_topics(timeout=10).brokers.values()))).split("/")[0]
    for value in [b"another"] * 10 + [b"wanted"]:
        producer.produce("orders", value, partition=0)
    producer.flush(10)
    breaks_s = {}
    for interval_s, dag in dags.items():
        extra = {"bootstrap.servers": kafka, "group.id": f"group-{interval_s}", "auto.offset.reset": "earliest"}
        os.environ[f"AIRFLOW_CONN_KAFKA_{interval_s}"] = json.dumps({"conn_type": "kafka", "extra": extra})
        matching.examined_s.clear()
        state = str(dag.test().state)
        assert (state, len(matching.examined_s)) == ("success", 11), f"{state}: {len(matching.examined_s)} examined"
        breaks_s[interval_s] = [b - a for a, b in zip(matching.examined_s, matching.examined_s[1:])]
        print(f"poll_interval={interval_s}: breaks of {min(breaks_s[interval_s]):.1f} to {max(breaks_s[interval_s]):.1f} s")
    assert min(breaks_s[2]) >= 2, "changed: it does not sleep after each message"
    assert max(breaks_s[0]) < 2, "changed: poll_interval=0 does not help, or the machine stood still"
    print("as stated: it sleeps after each message that is not the wanted one")
PYTHON
venv/bin/airflow db migrate >migrate.log 2>&1
venv/bin/python dags/orders.py >run.log 2>run.err || { tail -n 20 run.log run.err; exit 1; }
grep -a '^poll_interval\|^as stated' run.log
