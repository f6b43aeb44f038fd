"""A fenced producer's waiters are no news; whatever else nobody has looked at is."""

import asyncio
import gc
import logging

import pytest
from aiokafka.errors import ProducerFenced

from libs.runtime.service.life_cycle import ignore_unsent_batches


@pytest.mark.parametrize(("error", "told"), [(ProducerFenced(), False), (ValueError(), True)])
async def test_what_nobody_looks_at(error: Exception, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(ignore_unsent_batches)
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.create_future().set_exception(error)
        gc.collect()
    assert bool(caplog.records) is told


async def test_a_task_s_error_is_told_of_whatever_it_is(caplog: pytest.LogCaptureFixture) -> None:
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
