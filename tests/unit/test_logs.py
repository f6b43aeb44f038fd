"""The log has one event per line, an order can be traced through it, and it contains no secrets."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from prometheus_client import CollectorRegistry

from libs.events.dead_letters import Reason
from libs.events.watermarks import Watermark, encode_watermark
from libs.runtime.errors import SettingsError
from libs.runtime.logs import configure_logging, debugging, shown_setting, without_secrets
from libs.runtime.service.settings import ServiceSettings, load_settings
from services.analytics.analytics_partition import AnalyticsPartition
from services.analytics.window_metrics import WindowMetrics
from services.processor.catalogue import make_product
from services.processor.event_time_lag import EventTimeLag
from services.processor.order_log import log_rejected
from services.processor.order_metrics import OrderMetrics
from services.processor.order_partition import OrderPartition
from services.processor.replica_watermark import ReplicaWatermark
from services.processor.source_watermark import SourceWatermark
from services.sink.file.file_writer import FileWriter
from services.sink.file.metrics_file import MetricsFile
from services.sink.record_batcher import MetricBatch
from services.sink.report_written import report_written
from services.sink.sink_metrics import SinkMetrics
from tests.unit.driver import FakeClock, FakeRecord, LogicDriver, order_record

PASSWORD = "hunter2"
CATALOGUE = {"prod-1": make_product("prod-1", {"product_name": "Lamp", "category": "Home"})}
Event = dict[str, Any]


def events(capsys: pytest.CaptureFixture[str]) -> list[Event]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def process_one_record_of_each_kind() -> None:
    """A valid order, an invalid one, a late one and a closed window pass through all stages."""
    clock = FakeClock()
    metrics = OrderMetrics(CollectorRegistry(), Reason)
    watermark, lag = SourceWatermark(5.0, 10.0), EventTimeLag("orders", None, clock)
    orders = LogicDriver(
        OrderPartition("orders", 0, CATALOGUE, watermark, ReplicaWatermark(1, 60), lag, clock, metrics)
    )
    orders.pipe([order_record(1), order_record(2, amount=-1)])
    processed = [r for r in orders.output.topic("processed-orders") if r.headers == (("type", b"order"),)]
    mark = encode_watermark(Watermark((0,), 1, 1_700_000_100.0))
    windows = LogicDriver(AnalyticsPartition("processed-orders", 0, 60, clock, WindowMetrics(CollectorRegistry())))
    windows.pipe([*processed, FakeRecord(mark, None, (("type", b"watermark"),)), *processed])
    lines = [record.value or b"" for record in windows.output.topic("product-metrics")]
    writer = FileWriter(MetricsFile(Path("metrics.json"), "product-metrics"))
    metrics_of = SinkMetrics(CollectorRegistry(), "product-metrics", ["file"]).outputs
    report_written(writer, MetricBatch(writer.parse(lines)), [], metrics_of["file"], 1_700_000_200.0)


def test_an_order_can_be_traced_at_debug_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", "debug", "json")
    process_one_record_of_each_kind()
    logged = events(capsys)
    assert {event["service"] for event in logged} == {"test"}
    of_order = [event for event in logged if event.get("order_id") == "order-1"]
    assert [event["event"] for event in of_order] == ["order processed", "order counted", "order late"]
    assert (of_order[0]["to_topic"], of_order[0]["to_partition"]) == ("processed-orders", 2)
    (rejected,) = [event for event in logged if event.get("order_id") == "order-2"]
    assert (rejected["event"], rejected["reason"]) == ("order rejected", "invalid_amount")


def test_one_search_finds_an_order_and_its_window(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", "debug", "json")
    process_one_record_of_each_kind()
    lines = capsys.readouterr().err.splitlines()
    (counted,) = [line for line in lines if "order counted" in line]
    (window,) = re.findall(r'"window_start":.*"product_id":"[^"]*"', counted)
    found = [json.loads(line)["event"] for line in lines if window in line]
    assert found == ["order counted", "window closed", "order late", "window written"]


@pytest.mark.parametrize(
    ("key", "value", "order_id"),
    [
        (None, b'{"order_id":"of-value","amount":-1}', "of-value"),
        (b"of-key", b'{"order_id":"of-value","amount":-1}', "of-value"),
        (b"of-key", b'{"order_id":"","amount":-1}', "of-key"),
        (b"of-key", b'{"order_id":12345}', "of-key"),
        (b"of-key", b'{"order_id":"' + b"x" * 65 + b'"}', "of-key"),
        (b"of-key", b'{"order_id":"of-val', "of-key"),
        (b"of-key", b"[1]", "of-key"),
        (b"of-key", None, "of-key"),
        (b"\xff" * 1000, None, "\N{REPLACEMENT CHARACTER}" * 64),
        (None, None, ""),
    ],
)
def test_a_rejected_order_is_logged_with_its_original_id(
    key: bytes | None, value: bytes | None, order_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("test", "debug", "json")
    log_rejected(FakeRecord(value, key), Reason.MALFORMED)
    assert [event["order_id"] for event in events(capsys)] == [order_id]


def test_at_info_level_no_order_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", "info", "json")
    process_one_record_of_each_kind()
    assert events(capsys) == []
    assert not debugging()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_password_gets_into_the_log(log_format: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", "debug", log_format)
    log = structlog.get_logger()
    url = f"postgresql://pipeline:{PASSWORD}@db:5432/metrics"
    log.info("connecting", url=url, nested={"url": url}, dsn=f"host=db password={PASSWORD} user=pipeline")
    logging.getLogger("elsewhere").warning("cannot reach %s", url)
    log.error("failed", exc_info=RuntimeError(f"refused: {url}"))
    errors = capsys.readouterr().err
    assert PASSWORD not in errors
    assert errors.count("postgresql://pipeline:***@db:5432/metrics") >= 4
    if log_format == "json":
        assert len([orjson.loads(line) for line in errors.splitlines()]) == 3


@pytest.mark.parametrize("password", ["hid'den", 'hid"den', "hid den", "hid" + "d" * 250])
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_unusual_password_gets_into_the_log(
    log_format: Any, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("test", "debug", log_format)
    url = f"postgresql://pipeline:{password}@db:5432/metrics"
    structlog.get_logger().error("failed", error=url, nested={"url": url}, exc_info=RuntimeError(f"refused: {url}"))
    errors = capsys.readouterr().err
    assert "hid" not in errors
    assert errors.count("postgresql://pipeline:***@db:5432/metrics") >= 3
    if log_format == "json":
        orjson.loads(errors)


@pytest.mark.parametrize("scheme", ["", "sasl://"])
@pytest.mark.parametrize("password", ["hidden", "hid'den", 'hid"den', "hid den", "hid,den", "hid" + "d" * 250])
def test_a_bad_settings_message_has_no_password(scheme: str, password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"{scheme}user:{password}@broker:9092")
    with pytest.raises(
        SettingsError, match=r"KAFKA_BOOTSTRAP_SERVERS: .*host:port without a user and a pass"
    ) as raised:
        load_settings(ServiceSettings, [])
    assert "hid" not in str(raised.value)


def test_a_password_is_masked_before_a_value_is_cut() -> None:
    shown = shown_setting("NAME", f"{'x' * 180} password='{'hidden ' * 9}'")
    assert shown == f"""NAME="{"x" * 180} password='***'\""""


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://u:p@ss/w@h:1/d", "postgresql://u:***@h:1/d"),
        ("redis://:p@h", "redis://:***@h"),
        ("postgresql://u:p 'q@s@h:1/d", "postgresql://u:***@h:1/d"),
        ("u:p'q@h:1", "u:***@h:1"),
        ("https://h:80/p?q", "https://h:80/p?q"),
        ("'https://h:80' of a@b", "'https://h:80' of a@b"),
        ("http://[::1]:80/p of a@b", "http://[::1]:80/p of a@b"),
        ('{"url":"sasl://h:kafka","mail":"a@b"}', '{"url":"sasl://h:kafka","mail":"a@b"}'),
        ('{"at":"12:30","mail":"a@b"}', '{"at":"12:30","mail":"a@b"}'),
        ("PASSWORD=p;x=1", "PASSWORD=***;x=1"),
        ("mail a@b at 12:30", "mail a@b at 12:30"),
        ("u:p@h:1,v:q@i:2", "u:***@h:1,v:***@i:2"),
        ("host=h password='p q' user=u", "host=h password='***' user=u"),
        ("Settings(db_password='p', n=1)", "Settings(db_password='***', n=1)"),
        ("password=p'q&host=h", "password=***&host=h"),
        ("password='p'q' user=u", "password='***' user=u"),
        ("cut off: password='p", "cut off: password=***"),
        ('{"password":"p","n":1}', '{"password":"***","n":1}'),
        ('{"event":"{\\"api_key\\":\\"p\\"}"}', '{"event":"{\\"api_key\\":\\"***\\"}"}'),
        ('{"token":null,"n":1}', '{"token":null,"n":1}'),
        (f'{{"access_token":"{"e" * 4000}","n":1}}', '{"access_token":"***","n":1}'),
        (f"password='{'p q ' * 1000}' user=u", "password='***' user=u"),
        ("DB_PASSWORD_FILE='p' cannot be read", "DB_PASSWORD_FILE='***' cannot be read"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert without_secrets(text) == masked


def test_a_debug_log_has_no_requests_of_aiokafka(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", "debug", "json")
    logging.getLogger("aiokafka.conn").debug("Request: ProduceRequest(messages=b'order-1...')")
    assert events(capsys) == []
