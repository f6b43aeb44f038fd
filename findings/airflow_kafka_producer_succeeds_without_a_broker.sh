#!/bin/sh
# Airflow 3.3.2 with apache-airflow-providers-apache-kafka 2.1.0 and confluent-kafka 2.16.1, ProduceToTopicOperator.
#
# What one would expect: the operator waits for each message (synchronous=True), so a message that is not delivered fails the task,
# and Airflow tries it again.
# What happens: the operator's own delivery callback only logs the error, and nothing else looks at the outcome. With no broker at
# all the task is a success, and so is the run: no retry, no alert, the messages are lost.
# Seen: with the operator's callback: success
#       with a callback that raises: failed
# What to do: delivery_callback="module.function" with a function that raises if it is given an error.
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
cat >raising.py <<'PYTHON'
def raise_if_lost(error, message):
    if error is not None:
        raise RuntimeError(f"not delivered: {error}")
PYTHON
cat >dags/orders.py <<'PYTHON'
import json
import os
import socket

from airflow.providers.apache.kafka.operators.produce import ProduceToTopicOperator
from airflow.sdk import DAG


def orders():
    for number in range(3):
        yield f"o-{number}", '{"amount": 49.90}'


def dag_with(callback):
    with DAG(f"orders_{'raising' if callback else 'own'}", schedule=None) as dag:
        ProduceToTopicOperator(
            task_id="produce", topic="orders", producer_function=orders, synchronous=True, delivery_callback=callback
        )
    return dag


dags = {"the operator's callback": dag_with(None), "a callback that raises": dag_with("raising.raise_if_lost")}

if __name__ == "__main__":
    nobody = socket.socket()
    nobody.bind(("127.0.0.1", 0))  # bound but not listening: each connection to it is refused
    kafka = {"bootstrap.servers": "127.0.0.1:%d" % nobody.getsockname()[1], "message.timeout.ms": 1000}
    os.environ["AIRFLOW_CONN_KAFKA_DEFAULT"] = json.dumps({"conn_type": "kafka", "extra": kafka})
    states = {callback: str(dag.test().state) for callback, dag in dags.items()}
    for callback, state in states.items():
        print(f"with {callback}: {state}")
    assert states["the operator's callback"] == "success", "changed: the task does not succeed"
    assert states["a callback that raises"] == "failed", "changed: a callback that raises does not help"
    print("as stated: the run is a success, and no message was delivered")
PYTHON
venv/bin/airflow db migrate >migrate.log 2>&1
venv/bin/python dags/orders.py >run.log 2>run.err || { tail -n 20 run.log run.err; exit 1; }
tail -n 3 run.log
