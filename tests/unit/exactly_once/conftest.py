import pytest

from libs.runtime.exactly_once import fetching


@pytest.fixture
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable ticks, so that only the events of the test end the wait for records."""
    monkeypatch.setattr(fetching, "TICK_S", 3600.0)
