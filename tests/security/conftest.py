"""One broker for all tests here; each has topics of its own."""

from collections.abc import Iterator

import pytest

from libs.runtime.kafka_security.settings import KafkaSecuritySettings
from tests.security.broker import SecuredBroker, secured_broker


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KafkaSecuritySettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
