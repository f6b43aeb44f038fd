import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.errors import SettingsError
from libs.runtime.service.settings import load_settings
from services.analytics.analytics_settings import AnalyticsSettings
from services.processor.processor_settings import ProcessorSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings_class in (ProcessorSettings, AnalyticsSettings):
        for name in settings_class.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)


def test_defaults() -> None:
    settings = load_settings(ProcessorSettings, [])
    assert settings.processor_batch_size == 50
    assert settings.commit_interval_ms == 100
    assert settings.max_out_of_orderness_seconds == 5
    assert settings.idle_after_seconds == 10
    assert load_settings(AnalyticsSettings, []).window_seconds == 60


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_BATCH_SIZE", "7")
    assert load_settings(ProcessorSettings, []).processor_batch_size == 7
    assert load_settings(ProcessorSettings, ["--processor-batch-size", "8"]).processor_batch_size == 8


@pytest.mark.parametrize("flag", [["--topic-prefix="], ["--topic-prefix", ""]])
def test_an_empty_flag_wins_where_empty_is_the_default(monkeypatch: pytest.MonkeyPatch, flag: list[str]) -> None:
    monkeypatch.setenv("TOPIC_PREFIX", "other.")
    assert load_settings(ProcessorSettings, flag).topic_prefix == ""


def test_any_other_empty_flag_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_BATCH_SIZE", "7")
    settings = load_settings(ProcessorSettings, ["--processor-batch-size=", "--http-host="])
    assert (settings.processor_batch_size, settings.http_host) == (7, "127.0.0.1")


def test_an_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDOW_SECONDS", "")
    assert load_settings(AnalyticsSettings, []).window_seconds == 60


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PROCESSOR_BATCH_SIZE", "0", "greater than or equal to 1"),
        ("PROCESSOR_BATCH_SIZE", "many", "valid integer"),
        ("COMMIT_INTERVAL_MS", "-1", "greater than or equal to 0"),
        ("IDLE_AFTER_SECONDS", "soon", "valid number"),
        ("HTTP_PORT", "70000", "less than or equal to 65535"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("LOG_FORMAT", "xml", "'json' or 'console'"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,localhost:65536", "no port 65536"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:\u0661", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a..b:1", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "::1:9092", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "[::g]:9092", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "x" * 64 + ":1", "host:port"),
        ("MAX_OUT_OF_ORDERNESS_SECONDS", "nan", "less than or equal"),
        ("MAX_EVENT_AGE_SECONDS", "4.5", "at least MAX_OUT_OF_ORDERNESS_SECONDS, which is 5"),
        ("TOPIC_PREFIX", "a b", "prefix|pattern"),
        ("PROCESSOR_CATALOGUE_PATH", "/nowhere.json", "No such file"),
    ],
)
def test_the_error_for_a_bad_value_names_it_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=allowed) as raised:
        load_settings(ProcessorSettings, [])
    assert f"{name}='{value}'" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [("[::1]:9092", "[::1]:9092"), ("a:1, [fe80::1%eth0]:2 ,b:3", "a:1,[fe80::1%eth0]:2,b:3"), (" a:1 ", "a:1")],
)
def test_bootstrap_servers_may_have_ipv6_addresses_and_spaces(
    monkeypatch: pytest.MonkeyPatch, value: str, meant: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", value)
    assert load_settings(ProcessorSettings, []).kafka_bootstrap_servers == meant


def test_the_error_for_a_bad_value_of_any_length_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSOR_BATCH_SIZE", "9" * 5000)
    monkeypatch.setenv("PROCESSOR_CATALOGUE_PATH", "x" * 5000)
    with pytest.raises(SettingsError) as raised:
        load_settings(ProcessorSettings, [])
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "entry",
    [
        "services/generator/event_generator.py",
        "services/processor/order_processor.py",
        "services/analytics/analytics_engine.py",
        "services/sink/data_sink.py",
    ],
)
def test_every_service_lists_its_settings_and_rejects_invalid_ones(entry: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / entry)]
    listed = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "--kafka-bootstrap-servers" in listed
    refused = subprocess.run([*command, "--http-port", "x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "HTTP_PORT='x'" in refused.stderr
    assert "Traceback" not in refused.stderr
