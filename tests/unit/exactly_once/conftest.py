import pytest

from libs.runtime.kafka_client import idle_polling


@pytest.fixture
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable ticks, so that only the events of the test end the wait for records."""
    monkeypatch.setattr(idle_polling, "TICK_S", 3600.0)
