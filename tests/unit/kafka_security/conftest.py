"""A running token endpoint."""

import threading
from collections.abc import Iterator

import pytest

from tests.unit.kafka_security.token_endpoint import POLL_S, Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        threading.Thread(target=endpoint.serve_forever, args=(POLL_S,), daemon=True).start()
        yield endpoint
        endpoint.shutdown()
