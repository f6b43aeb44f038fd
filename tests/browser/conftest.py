"""One pipeline, one page and one browser for all tests of a file, since starting them takes most of the time."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import pytest

from local.broker import LocalBroker
from tests.browser.chromium import Browser, chromium, chromium_problem
from tests.browser.live_page import LivePage
from tests.integration.pipeline import Pipeline
from tests.integration.services import ServiceProcess

S = TypeVar("S", bound=ServiceProcess)


@dataclass
class Stage:
    """The pipeline, page and browser of the tests."""

    broker: LocalBroker
    pipeline: Pipeline
    processor: ServiceProcess
    page: LivePage
    browser: Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if problem := chromium_problem():
        if os.environ.get("CI"):
            pytest.fail(f"CI is set, but there is {problem}")
        pytest.skip(problem)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def stage(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A pipeline with only the orders that the tests send."""
    directory = tmp_path_factory.mktemp("live")
    with ExitStack() as stack:
        broker = stack.enter_context(LocalBroker(directory / "kafka"))
        pipeline = Pipeline(broker.bootstrap_servers, "shop.", directory)
        page = _started(stack, LivePage(pipeline))
        processor = _started(stack, pipeline.service("processor"))
        for name in ("analytics", "sink"):
            _started(stack, pipeline.service(name))
        yield Stage(broker, pipeline, processor, page, browser)


def _started(stack: ExitStack, service: S) -> S:
    service.start()
    stack.callback(_end, service)
    return service


def _end(service: ServiceProcess) -> None:
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
