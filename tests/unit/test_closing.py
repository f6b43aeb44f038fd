"""Errors of closing a client are ignored, even late ones."""

import asyncio
import gc
import logging

import pytest

from libs.runtime.kafka_client import closing


async def test_a_late_error_of_an_abandoned_close_is_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(closing, "CLOSE_TIMEOUT_S", 0.02)
    failed = asyncio.Event()

    async def hangs_and_fails() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            failed.set()
            raise OSError

    with caplog.at_level(logging.ERROR, "asyncio"):
        assert not await closing.close_quietly(hangs_and_fails())
        await failed.wait()
        await asyncio.sleep(0)
        gc.collect()
    assert not caplog.records
