"""A running token endpoint."""

import threading
from collections.abc import Iterator

import pytest

from tests.unit.kafka_security.token_endpoint import Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        yield endpoint
        endpoint.shutdown()
