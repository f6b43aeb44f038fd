"""One broker for all tests here, and programs that start without importing everything anew."""

from collections.abc import Iterator

import pytest

from tests.security.acls.broker import AclBroker, acl_broker
from tests.security.acls.programs import Programs


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AclBroker]:
    with acl_broker(tmp_path_factory.mktemp("acls")) as broker:
        yield broker


@pytest.fixture(scope="package")
def programs() -> Programs:
    return Programs()
