"""Errors of a fenced producer's unsent batches are ignored; other unretrieved exceptions are logged."""

import asyncio
import gc
import logging

import pytest
from aiokafka.errors import ProducerFenced

from libs.runtime.life_cycle import ignore_unsent_batches


@pytest.mark.parametrize(("error", "logged"), [(ProducerFenced(), False), (ValueError(), True)])
async def test_only_errors_of_unsent_batches_are_ignored(
    error: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ignore_unsent_batches)
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.create_future().set_exception(error)
        gc.collect()
    assert bool(caplog.records) is logged


async def test_any_error_of_a_task_is_notified(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise ProducerFenced

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ignore_unsent_batches)
    with caplog.at_level(logging.ERROR, "asyncio"):
        task = loop.create_task(fails())
        await asyncio.wait({task})
        del task
        gc.collect()
    assert caplog.records
