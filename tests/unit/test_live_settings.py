import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.errors import SettingsError
from libs.runtime.service.settings import load_settings
from live.live_settings import LiveSettings

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_served_on_loopback_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(LiveSettings, [])
    assert (settings.live_host, settings.live_port, settings.window_seconds) == ("127.0.0.1", 8080, 60)
    monkeypatch.setenv("LIVE_HOST", "0.0.0.0")
    monkeypatch.setenv("LIVE_PORT", "0")
    assert load_settings(LiveSettings, ["--live-port", "81"]).live_port == 81
    assert load_settings(LiveSettings, []).live_host == "0.0.0.0"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("LIVE_PORT", "65536", "port of the page; 0 takes a free one"),
        ("LIVE_PORT", "http", "port of the page; 0 takes a free one"),
        ("LIVE_ALLOWED_HOSTS", "https://x.example", "no scheme, port or path .names that the page is addressed by"),
        ("LIVE_PATH_PREFIX", "orders", "what a reverse proxy puts before the page's paths"),
        ("LIVE_PATH_PREFIX", "/../x", "what a reverse proxy puts before the page's paths"),
        ("LIVE_PATH_PREFIX", "/{x}", "what a reverse proxy puts before the page's paths"),
        ("WINDOW_SECONDS", "0", "the pipeline's windows, in seconds"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}='{value}': .*{allowed}"):
        load_settings(LiveSettings, [])


def ended(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_it_does_not_start_with_a_bad_setting() -> None:
    live = ended("-m", "live", "--live-port", "none")
    assert live.returncode == 2
    assert "live: bad setting: LIVE_PORT='none'" in live.stderr


def test_an_unusable_address_is_a_one_line_error_with_advice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        live = ended("-m", "live", "--live-port", str(port))
    assert live.returncode == 1
    [line] = live.stderr.splitlines()
    logged = json.loads(line)
    assert (logged["event"], logged["level"], logged["service"]) == ("service failed", "error", "live")
    assert f"LIVE_HOST='127.0.0.1', LIVE_PORT={port} cannot be used" in logged["error"]
    assert logged["advice"] == "choose another port, or 0 for a free one"


def test_a_bug_is_logged_in_one_line_with_its_stack_trace() -> None:
    live = ended("-c", "from live import __main__ as live; live.snapshot_json = None; live.main()", "--live-port", "0")
    assert live.returncode == 1
    logged = json.loads(live.stderr.splitlines()[-1])
    assert (logged["event"], logged["level"], logged["service"]) == ("service failed", "error", "live")
    assert "TypeError" in logged["exception"]
    assert "a defect" in logged["advice"]
