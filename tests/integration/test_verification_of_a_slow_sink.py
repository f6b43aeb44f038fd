"""What a sink has not read yet is not reported as missing; what it has committed and not written is."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer

from libs.events.product_metrics import ProductMetric, encode_metric
from libs.events.topics import PRODUCT_METRICS
from tests.integration.pipeline import Pipeline
from verification.output_database import OutputDatabase
from verification.report import Damage, Report
from verification.verify import verify

METRICS = [ProductMetric(60 * number, 60 * number + 60, "prod-1", 1, 100) for number in range(4)]


@pytest.fixture
async def metrics(pipeline: Pipeline, topics: None) -> None:
    """Writes ``METRICS`` to one partition."""
    async with AIOKafkaProducer(bootstrap_servers=pipeline.kafka) as producer:
        for each in METRICS:
            topic, key = pipeline.prefix + PRODUCT_METRICS.name, each.product_id.encode()
            await producer.send_and_wait(topic, encode_metric(each), key, partition=0)


def write_lines(pipeline: Pipeline, count: int) -> None:
    pipeline.output.write_bytes(b"".join(encode_metric(each) + b"\n" for each in METRICS[:count]))


def write_rows(pipeline: Pipeline, count: int) -> None:
    columns = ("window_start", "window_end", "product_id", "order_count", "total_revenue", "avg_order_value")
    with closing(connect(database_file(pipeline))) as database:
        database.execute("drop table if exists product_metrics")
        database.execute(f"create table product_metrics ({', '.join(columns)})")
        rows = [(each.window_start, each.window_end, each.product_id, 1, 100, 100) for each in METRICS[:count]]
        database.executemany("insert into product_metrics values (?, ?, ?, ?, ?, ?)", rows)
        database.commit()


def database_file(pipeline: Pipeline) -> Path:
    return pipeline.directory / "metrics.db"


async def verified(pipeline: Pipeline) -> Report:
    rows = database_file(pipeline)
    return await verify(
        pipeline.kafka,
        topic_prefix=pipeline.prefix,
        output=None if rows.exists() else pipeline.output,
        database=OutputDatabase(f"sqlite:///{rows}") if rows.exists() else None,
        settle_s=0,
    )


class Output(NamedTuple):
    """Its group, how to write the first metrics, and its differences."""

    group: str
    write: Callable[[Pipeline, int], None]
    behind: Damage
    missing: Damage


FILE = Output("sink", write_lines, Damage.LINE_BEHIND, Damage.LINE_MISSING)
DATABASE = Output("sink-database", write_rows, Damage.ROW_BEHIND, Damage.ROW_MISSING)


class Case(NamedTuple):
    written: int
    committed: int | None
    behind: int
    missing: int


# Those without a commit first: it cannot be undone.
CASES = (
    Case(0, None, 4, 0),
    Case(4, None, 0, 0),
    Case(1, 1, 3, 0),
    Case(1, 3, 1, 2),
    Case(2, 1, 2, 0),
    Case(3, 4, 0, 1),
)


@pytest.mark.parametrize("output", [FILE, DATABASE], ids=["file", "database"])
async def test_metrics_are_missing_only_where_the_sink_has_been(
    pipeline: Pipeline, metrics: None, output: Output
) -> None:
    for case in CASES:
        output.write(pipeline, case.written)
        if case.committed is not None:
            await pipeline.commit(output.group, PRODUCT_METRICS.name, case.committed)
        report = await verified(pipeline)
        found = {kind: count for kind, count in report.damage.items() if kind.name.startswith(("LINE_", "ROW_"))}
        assert Counter(found) == Counter({output.behind: int(case.behind > 0), output.missing: case.missing}), case
        if case.behind:
            said = f"{output.group} is {case.behind} metrics behind the end of {pipeline.prefix}product-metrics"
            assert report.examples[output.behind] == [said], case
