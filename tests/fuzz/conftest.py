"""What the tests with generated input share."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def _silent() -> Iterator[None]:
    """A foreign record is logged; thousands of them would bury the test's own output."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)
