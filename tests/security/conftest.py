"""One broker for all tests of this folder; each test has its own topics. Programs are forked after their imports."""

from collections.abc import Iterator

import pytest

from libs.runtime.kafka_security.settings import KafkaSecuritySettings
from tests.security.broker import SecuredBroker, secured_broker
from tests.security.programs import Programs


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture(scope="session")
def programs() -> Programs:
    return Programs()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KafkaSecuritySettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
