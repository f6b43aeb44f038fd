"""Local mode's settings: how they are shown, and which are refused or completed."""

from pathlib import Path

import pytest

from local.errors import LocalModeError
from local.settings import LocalSettings


@pytest.mark.parametrize("password", ["hidden", "hid@den", "hid'den", "hid den"])
def test_the_outputs_are_shown_without_the_password(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    monkeypatch.setenv("SINK_DATABASE_URL", f"postgresql://sink:{password}@db:5432/metrics?sslmode=require")
    assert LocalSettings.from_environment().outputs == "postgresql://sink@db:5432/metrics"


def test_a_relative_database_path_is_that_of_the_callers_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The sink runs in the checkout, and other commands anywhere."""
    monkeypatch.chdir(tmp_path)
    for url, expected in (
        ("sqlite:///shop.db", f"sqlite:///{tmp_path}/shop.db"),
        ("sqlite:////srv/shop.db", "sqlite:////srv/shop.db"),
        ("postgresql://sink@db/metrics", "postgresql://sink@db/metrics"),
    ):
        monkeypatch.setenv("SINK_DATABASE_URL", url)
        assert LocalSettings.from_environment().sink_database_url == expected


@pytest.mark.parametrize("host", ["192.168.1.5", "::1", "somewhere"])
def test_an_address_that_this_machine_does_not_reach_by_loopback_is_refused(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_HOST", host)
    with pytest.raises(LocalModeError, match=rf"HTTP_HOST='{host}': .*127\.0\.0\.1 .*0\.0\.0\.0"):
        LocalSettings.from_environment()
