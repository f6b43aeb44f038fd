"""Fixtures of the tests with generated input."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def _silent() -> Iterator[None]:
    """Disable logging: thousands of lines about foreign records would hide the test's own output."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)
