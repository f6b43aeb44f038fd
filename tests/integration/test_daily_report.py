"""`pipeline report` on a pipeline, compared with sums that the test has computed."""

import csv
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from daily_report.gather import _dead_letters
from daily_report.span import Span
from libs.events.dead_letters import Reason
from libs.events.topics import ORDERS_DLQ
from libs.runtime.errors import PipelineError
from libs.runtime.kafka_client.clients import KafkaAddress
from tests.integration.command_line import run_command
from tests.integration.dead_letters import letter, write_letters
from tests.integration.pipeline import Pipeline, history
from tests.integration.services import ServiceProcess, eventually
from verification import topic_reader

HOUR_S = 3600
LATE_AGE_S = 2 * HOUR_S


def hour_name(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H", time.gmtime(epoch_s))


class Reports:
    """A pipeline with a file and a database, and orders in the last whole hour."""

    def __init__(self, kafka: str, prefix: str, folder: Path) -> None:
        self.pipeline = Pipeline(kafka, prefix, folder)
        self.database = folder / "metrics.db"
        self.folder = folder / "reports"
        self.pipeline.env |= {"SINK_OUTPUTS": "file,database", "SINK_DATABASE_URL": f"sqlite:///{self.database}"}
        self.start_s = time.time() // HOUR_S * HOUR_S - HOUR_S
        self.hour = hour_name(self.start_s)
        self.orders: list[dict[str, Any]] = []
        self.services: dict[str, ServiceProcess] = {}

    async def send(self, orders: list[dict[str, Any]], *bad: bytes) -> None:
        values = [*map(orjson.dumps, orders), *bad]
        await self.pipeline.send([(partition, values[partition::6]) for partition in range(6)])

    def truth(self) -> dict[str, tuple[int, int]]:
        """Orders and cents by product that were sent for the hour."""
        sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for order in self.orders:
            if self.start_s <= order["timestamp"] < self.start_s + HOUR_S:
                sums[order["product_id"]][0] += 1
                sums[order["product_id"]][1] += round(order["amount"] * 100)
        return {product: (count, cents) for product, (count, cents) in sums.items()}

    async def run(self, span: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, report, and standard error."""
        code, out, err = await run_command(
            self.pipeline,
            *("report", span, f"--window-seconds={self.pipeline.window_s}", "--outputs=file,database"),
            *(f"--file={self.pipeline.output}", f"--database=sqlite:///{self.database}", f"--folder={self.folder}"),
            *arguments,
        )
        path = self.folder / f"report-{span}.json"
        assert str(path) in out or not out
        return code, orjson.loads(self.written(span, "json")) if out else {}, err

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as database, database:
            return database.execute(statement, values).fetchall()

    def written(self, span: str, kind: str) -> str:
        return (self.folder / f"report-{span}.{kind}").read_text()


@pytest.fixture
async def reports(kafka: str, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Reports]:
    """All orders of the hour have been sent, and the services run."""
    reports = Reports(kafka, topic_prefix, tmp_path)
    await reports.pipeline.make_topics()
    reports.orders = history(3000, HOUR_S + 600, seed=3, end_s=min(reports.start_s + HOUR_S + 300, time.time()))
    async with AsyncExitStack() as stack:
        for name in ("processor", "analytics", "sink"):
            reports.services[name] = await stack.enter_async_context(reports.pipeline.service(name))
        await reports.send(reports.orders, b"no JSON", b"[]")
        yield reports


def products(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {name: (each["order_count"], each["revenue_cents"]) for name, each in report["products"].items()}


async def test_an_hour_is_reported_and_planted_differences_are_found(reports: Reports) -> None:
    code, report, error = await reports.run(reports.hour, "--wait=600")
    assert code == 0, error
    assert products(report) == reports.truth()
    assert report["sources"] == ["topic", "file", "database"]
    assert report["dead_letters"] == {}, "they arrived now, not in that hour"
    lines = list(csv.DictReader(reports.written(reports.hour, "csv").splitlines()))
    assert {line["product_id"]: int(line["order_count"]) for line in lines[:-1]} == {
        product: count for product, (count, _) in reports.truth().items()
    }
    assert f"{sum(cents for _, cents in reports.truth().values()) // 100:d}." in lines[-1]["total_revenue"]
    assert "Reconciled" in reports.written(reports.hour, "html")

    _, before, error = await reports.run(hour_name(reports.start_s - 1), "--wait=600")
    expected = Counter(order["product_id"] for order in reports.orders if order["timestamp"] < reports.start_s)
    assert {product: count for product, (count, _) in products(before).items()} == expected, error

    await plant_in_database(reports)
    await plant_in_file(reports)


async def plant_in_database(reports: Reports) -> None:
    one = (
        "select window_start, product_id, total_revenue_cents from product_metrics"
        " where window_start >= ? order by window_start limit 1"
    )
    set_to = "update product_metrics set total_revenue_cents = ? where window_start = ? and product_id = ?"
    ((start, product, cents),) = reports.query(one, reports.start_s)
    reports.query(set_to, cents + 1, start, product)
    code, report, error = await reports.run(reports.hour, "--wait=0")
    assert code == 3
    assert (report["reconciled"], report["difference_count"]) == (False, 1)
    (difference,) = report["differences"]
    assert (difference["product_id"], difference["window_start"]) == (product, start)
    assert [found["revenue_cents"] for found in difference["found"]["database"]] == [cents + 1]
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))
    assert f"{product}, window from {at}: topic: " in error
    assert f"${cents // 100:,}.{cents % 100:02d}" in error
    assert f"${(cents + 1) // 100:,}.{(cents + 1) % 100:02d}" in error
    assert "NOT reconciled" in reports.written(reports.hour, "html")
    reports.query(set_to, cents, start, product)
    assert (await reports.run(reports.hour, "--wait=0"))[0] == 0


async def plant_in_file(reports: Reports) -> None:
    """In a finished file, as `SINK_ROTATE` makes them."""
    reports.services["sink"].terminate()  # it would repair its live file
    await reports.services["sink"].wait()
    output = reports.pipeline.output
    lines = output.read_bytes().splitlines(keepends=True)
    starts = [orjson.loads(line)["window_start"] for line in lines]
    names = [time.strftime("%Y-%m-%dT%H-%MZ", time.gmtime(each)) for each in (min(starts), max(starts))]
    finished = output.with_name(f"metrics-{names[0]}--{names[1]}.json")
    inside = next(i for i, start in enumerate(starts) if reports.start_s <= start < reports.start_s + HOUR_S)
    finished.write_bytes(b"".join(lines[:inside] + lines[inside + 1 :]))
    output.write_bytes(b"")
    code, report, error = await reports.run(reports.hour, "--wait=0")
    assert code == 3, "a line is missing in the finished file"
    assert report["difference_count"] == 1
    assert "file: no metric" in error
    finished.write_bytes(b"".join(lines))
    assert (await reports.run(reports.hour, "--wait=0"))[0] == 0, "finished files are read"
    finished.write_bytes(b"".join([*lines, lines[inside]]))
    assert (await reports.run(reports.hour, "--wait=0"))[1]["difference_count"] == 1, "a duplicated line"


async def test_late_orders_dead_letters_and_records_deleted_by_retention(reports: Reports) -> None:
    code, report, error = await reports.run(reports.hour, "--wait=600")
    assert code == 0, error
    in_hour = {"user_id": "u", "product_id": "prod-1", "timestamp": reports.start_s + 100}
    late = [{**in_hour, "order_id": f"late-{number}", "amount": 1.1} for number in range(7)]
    await reports.send([*late, {**late[0], "order_id": "elsewhen", "timestamp": reports.start_s - LATE_AGE_S}])

    async def has_late_orders() -> bool:
        return len(await reports.pipeline.read("late-orders")) == 8

    await eventually(has_late_orders)
    code, report, error = await reports.run(reports.hour, "--wait=600")
    assert code == 0, error
    assert products(report) == reports.truth(), "late orders change no metric"
    assert (report["total"]["late_order_count"], report["total"]["late_revenue_cents"]) == (7, 770)
    assert "not over" in (await reports.run(hour_name(time.time() + HOUR_S)))[2]

    await reports.pipeline.delete_records("product-metrics", lambda end: end // 2)
    code, report, error = await reports.run(reports.hour, "--wait=0")
    assert code == 0, error
    assert products(report) == reports.truth(), "file and database still have all"


async def test_a_period_with_open_windows_is_not_reported(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    reports = Reports(kafka, topic_prefix, tmp_path)
    await reports.pipeline.make_topics()
    reports.orders = history(600, HOUR_S, seed=4, end_s=reports.start_s + HOUR_S)
    await reports.send(reports.orders)
    for started, obstacle in (
        ((), "the processor has"),
        (("processor",), "the analytics has"),
    ):
        async with AsyncExitStack() as stack:
            for name in started:
                await stack.enter_async_context(reports.pipeline.service(name))

            async def reports_obstacle(obstacle: str = obstacle) -> bool:
                code, report, error = await reports.run(reports.hour, "--wait=0")
                assert (code, report) == (1, {}), error
                return f"{reports.hour} is not complete yet" in error and obstacle in error

            await eventually(reports_obstacle)
    service = reports.pipeline.service
    async with service("analytics"), service("sink"):
        async with service("processor"):
            code, report, error = await reports.run(reports.hour, "--wait=600")
        assert code == 0, error
        assert products(report) == reports.truth()
        # The processor may have written another watermark since, which the analytics has to read.
        code, _, error = await reports.run(reports.hour, "--wait=600")
        assert code == 0, error
    # The hour of a stopped pipeline is complete as well: event time does not advance, and no window is open.
    code, _, error = await reports.run(reports.hour, "--wait=0")
    assert code == 0, error


async def test_dead_letters_behind_an_open_transaction_are_not_left_out_silently(
    kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_reader, "_STUCK_AFTER_S", 2.0)
    pipeline, now_s = Pipeline(kafka, topic_prefix, tmp_path), int(time.time())
    await pipeline.make_topics()
    around_now = Span("now", now_s - HOUR_S, now_s + HOUR_S)
    rejected = letter(pipeline, b"no JSON", Reason.MALFORMED)
    hanging = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}hangs")
    async with hanging:
        await hanging.begin_transaction()
        name = topic_prefix + ORDERS_DLQ.name
        await hanging.send_and_wait(name, b"of an open transaction", partition=rejected.partition)
        await write_letters(pipeline, [rejected])
        with pytest.raises(PipelineError, match=f"a transaction in {name} stays open"):
            await _dead_letters(KafkaAddress(kafka), topic_prefix, around_now)
        await hanging.abort_transaction()
    assert await _dead_letters(KafkaAddress(kafka), topic_prefix, around_now) == ({"malformed": 1}, False)
