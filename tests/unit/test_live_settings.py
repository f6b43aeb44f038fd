import subprocess
import sys
from pathlib import Path

import pytest

from libs.runtime.errors import SettingsError
from libs.runtime.settings import load_settings
from live.live_settings import LiveSettings

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_served_on_loopback_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
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
        ("WINDOW_SECONDS", "0", "the pipeline's windows, in seconds"),
    ],
)
def test_a_bad_setting_is_named_with_its_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}='{value}': .*{allowed}"):
        load_settings(LiveSettings, [])


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["--live-port", "none"], 2, "live: bad setting: LIVE_PORT='none'"),
        (["--live-host", "192.0.2.1"], 1, "LIVE_HOST='192.0.2.1', LIVE_PORT=8080 cannot be used"),
    ],
)
def test_it_does_not_start_where_it_cannot_serve(arguments: list[str], exit_code: int, told: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "live", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == exit_code
    assert told in ended.stderr
