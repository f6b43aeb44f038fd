import pytest

from libs.runtime.exactly_once import fetching


@pytest.fixture
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for records ends for no other reason than what a test is about."""
    monkeypatch.setattr(fetching, "TICK_S", 3600.0)
