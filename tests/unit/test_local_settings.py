"""Local mode's settings as they are shown."""

import pytest

from local.settings import LocalSettings


@pytest.mark.parametrize("password", ["hidden", "hid@den", "hid'den", "hid den"])
def test_the_outputs_are_shown_without_the_password(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("SINK_OUTPUTS", "database")
    monkeypatch.setenv("SINK_DATABASE_URL", f"postgresql://sink:{password}@db:5432/metrics?sslmode=require")
    assert LocalSettings.from_environment().outputs == "postgresql://sink@db:5432/metrics"
