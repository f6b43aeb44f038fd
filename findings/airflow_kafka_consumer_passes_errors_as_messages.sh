#!/bin/sh
# Airflow 3.3.2 with apache-airflow-providers-apache-kafka 2.1.0 and confluent-kafka 2.16.1, ConsumeFromTopicOperator.
#
# What one would expect: apply_function gets the messages of the topics. If a topic does not exist, the task fails, or the error is in
# its log.
# What happens: confluent-kafka's consume() returns errors in the list of messages, and the operator gives all of them to the function,
# without a look at error(). Such a message has the name of the topic, and the text of the error as its value. A function that stores
# values stores it as an order. The task is a success, and commits. With max_messages the error counts as one of them.
# Seen, for three orders in the topic orders, and no topic orders-eu:
#       stored: orders 3 values, orders-eu 1 value: Subscribed topic not available: orders-eu: Broker: Unknown topic or partition
#       the task: success
#       with a function that raises if message.error(): failed
# What to do: look at message.error() first, in each apply_function.
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
cat >storing.py <<'PYTHON'
stored = []


def store(message):
    stored.append((message.topic(), message.value().decode()))


def store_unless_error(message):
    if message.error():
        raise RuntimeError(str(message.error()))
    store(message)
PYTHON
cat >dags/orders.py <<'PYTHON'
import json
import os

from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator
from airflow.sdk import DAG
from confluent_kafka import Producer

import storing


def dag_with(function):
    with DAG(f"orders_{function}", schedule=None) as dag:
        ConsumeFromTopicOperator(
            task_id="consume",
            topics=["orders", "orders-eu"],
            kafka_config_id=f"kafka_{function}",
            apply_function=f"storing.{function}",
            poll_timeout=10,
        )
    return dag


dags = {function: dag_with(function) for function in ("store", "store_unless_error")}

if __name__ == "__main__":
    producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 3})
    kafka = str(next(iter(producer.list_topics(timeout=10).brokers.values()))).split("/")[0]
    for number in range(3):
        producer.produce("orders", b"order %d" % number, partition=0)
    producer.flush(10)
    states = {}
    for function, dag in dags.items():
        extra = {
            "bootstrap.servers": kafka,
            "group.id": function,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": "false",
        }
        os.environ[f"AIRFLOW_CONN_KAFKA_{function.upper()}"] = json.dumps({"conn_type": "kafka", "extra": extra})
        states[function] = str(dag.test().state)
        if function == "store":
            orders = [value for topic, value in storing.stored if topic == "orders"]
            others = [value for topic, value in storing.stored if topic == "orders-eu"]
    print(f"stored: orders {len(orders)} values, orders-eu {len(others)} value: {others[0] if others else None}")
    print(f"the task: {states['store']}")
    print(f"with a function that raises if message.error(): {states['store_unless_error']}")
    assert orders == ["order 0", "order 1", "order 2"], "changed: the orders are not read"
    assert len(others) == 1 and "Unknown topic" in others[0], "changed: the error is no message"
    assert states == {"store": "success", "store_unless_error": "failed"}, "changed: other states"
    print("as stated: the error was stored as an order, and the task is a success")
PYTHON
venv/bin/airflow db migrate >migrate.log 2>&1
venv/bin/python dags/orders.py >run.log 2>run.err || { tail -n 20 run.log run.err; exit 1; }
grep -a '^stored:\|^the task\|^with a function\|^as stated' run.log
