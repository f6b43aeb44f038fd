"""`dead_letter_watch` with a real scheduler, triggerer and broker: every letter is reported, whenever the triggerer dies."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bonus_airflow.tests.airflow_processes import Airflow, eventually
from bonus_airflow.tests.local_pipeline import LocalPipeline
from bonus_airflow.tests.recording_notifier import recorded

DAG = "dead_letter_watch"
GROUP = "airflow-dead-letter-watch"
NO_UTF_8 = b"\xff\xfe{"
ORDER = {"order_id": "o", "user_id": "u", "product_id": "prod-1", "amount": 12.5}


class Letters:
    """Writes into `orders` what becomes dead letters, and counts what has been reported of them by reason."""

    def __init__(self, bootstrap: str, notifications: Path) -> None:
        self.bootstrap = bootstrap
        self.notifications = notifications
        self.before = len(recorded(notifications, DAG))
        self.written: Counter[str] = Counter()

    def write(self, reason: str, values: Sequence[bytes | None]) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for number, value in enumerate(values):
            producer.produce("orders", value=value, partition=number % 6)
        assert producer.flush(60) == 0
        self.written[reason] += len(values)

    def write_some(self, count: int) -> None:
        unknown = json.dumps(ORDER | {"product_id": "prod-new", "timestamp": time.time()}).encode()
        self.write("unknown_product", [unknown] * count)
        self.write("malformed", [NO_UTF_8, None, b"{"] * count)

    def reported(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for each in self.messages():
            count, reason = re.findall(r"^([\d,]+) new dead letters?, reason (\w+)", each["what"])[0]
            found[reason] += int(count.replace(",", ""))
        return found

    def messages(self) -> list[dict[str, Any]]:
        return recorded(self.notifications, DAG)[self.before :]

    def in_topic(self) -> int:
        return sum(self._letters_from({}).values())

    def committed(self) -> dict[int, int]:
        """The trigger's consumer group, by partition."""
        client = AdminClient({"bootstrap.servers": self.bootstrap})
        (asked,) = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)]).values()
        return {each.partition: each.offset for each in asked.result().topic_partitions if each.offset >= 0}

    def uncommitted(self) -> Counter[int]:
        """How many letters are behind what the group has committed, by partition."""
        return self._letters_from(self.committed())

    def _letters_from(self, offsets: Mapping[int, int]) -> Counter[int]:
        """By partition; ends of transactions, which take offsets too, are no letters."""
        found = Counter[int]()
        config = {"bootstrap.servers": self.bootstrap, "group.id": "test-looks", "enable.partition.eof": True}
        with closing(Consumer(config)) as consumer:
            consumer.assign([TopicPartition("orders-dlq", number, offsets.get(number, 0)) for number in range(6)])
            ended = 0
            while ended < 6:
                record = consumer.poll(30)
                assert record is not None
                error, partition = record.error(), record.partition()
                assert partition is not None
                if error is None:
                    found[partition] += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended += 1
        return found


@pytest.fixture
def letters(airflow: Airflow, pipeline: LocalPipeline, notifications: Path) -> Letters:
    """Of a pipeline without other orders, and a triggerer that has not seen the cluster of an earlier test at its address."""
    with pipeline.with_settings(GENERATOR_COUNT="1"):
        pipeline.start()
    airflow.kill_tree("triggerer")
    airflow.start("triggerer")
    return Letters(f"127.0.0.1:{pipeline.settings['LOCAL_KAFKA_PORT']}", notifications)


def runs(airflow: Airflow) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = airflow.get(f"/dags/{DAG}/dagRuns", limit=100)["dag_runs"]
    return found


def test_no_letter_is_lost_whenever_the_triggerer_is_killed(airflow: Airflow, letters: Letters) -> None:
    letters.write_some(5)
    eventually(lambda: letters.reported() == letters.written, "the first letters are reported")
    by_run = Counter((each["run_id"], each["what"].split()[5]) for each in letters.messages())
    assert set(by_run.values()) == {1}, "each reason once"
    assert all('make dead-letters ARGS="replay --reason ' in each["what"] for each in letters.messages())

    # The triggerer's consumer goes on, and the process that stores its events has come to a halt. The letter that fires one keeps
    # its partition where it is; those of other partitions, for which it fires none, are committed: so the consumer has read them.
    eventually(lambda: not letters.uncommitted(), "the offsets of what was reported are committed")
    airflow.pause("triggerer")
    letters.write_some(4)
    eventually(lambda: 0 < len(letters.uncommitted()) < 6 and letters.in_topic() == 36, "the consumer has read letters")
    assert letters.uncommitted(), "no offset is committed before its event is stored"
    airflow.kill_tree("triggerer")

    # No letter comes any more that could wake the DAG up: what was under way must come again by itself.
    airflow.start("triggerer")
    eventually(lambda: letters.reported() == letters.written, f"{letters.written} are reported")
    eventually(lambda: not letters.uncommitted(), "all offsets are committed")
    eventually(lambda: all(each["state"] == "success" for each in runs(airflow)), "all runs end green")
    assert letters.reported() == letters.written, "and no letter twice"
