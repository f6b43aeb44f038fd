"""One broker for all tests of a file; each test has its own pipeline."""

from collections.abc import Iterator

import pytest

from tests.security.acls.broker import AclBroker, acl_broker


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AclBroker]:
    with acl_broker(tmp_path_factory.mktemp("acls")) as broker:
        yield broker
