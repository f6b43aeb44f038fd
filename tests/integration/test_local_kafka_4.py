"""Local mode on Kafka 4, which has no ZooKeeper."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.services import HANGS_AFTER_S, eventually
from tests.integration.test_local_mode import Pipeline

ORDERS = 2_000


@pytest.fixture
def on_kafka_4(tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline(tmp_path)
    pipeline.env |= {"LOCAL_KAFKA": "4"}
    yield pipeline
    pipeline("down")


def has_sent_all(pipeline: Pipeline) -> bool:
    return any((each.name, each.state) == ("generator", "EXITED") for each in pipeline.supervisor.programs())


async def test_the_pipeline_is_exact_on_kafka_4(on_kafka_4: Pipeline) -> None:
    on_kafka_4.env |= {"GENERATOR_RATE": "500", "GENERATOR_COUNT": str(ORDERS), "GENERATOR_FAULTS": "0.02"}
    assert "starting Kafka 4." in on_kafka_4("up", "--detach")
    await eventually(lambda: has_sent_all(on_kafka_4), what="the generator has sent all orders")
    assert "exit 0" in on_kafka_4("status")
    assert list(on_kafka_4.running()) == ["kafka", "processor-1", "processor-2", "analytics-1", "sink", "live"]
    report = json.loads(on_kafka_4("verify", "--json", "--wait-closed", f"{HANGS_AFTER_S:.0f}"))
    assert report["sent"] == ORDERS
    assert report["open_windows"] == 0
    assert report["lines"] == report["closed_windows"] > 0
    on_kafka_4("down")

    on_kafka_4.env["LOCAL_KAFKA"] = "3.9"
    assert "has the data of Kafka 4, LOCAL_KAFKA asks for 3.9" in on_kafka_4("up", "--detach", exit_code=1)
