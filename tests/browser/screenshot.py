"""``python -m tests.browser.screenshot``: makes the screenshots of the live page in docs/images, of a running pipeline.

Starts a broker and the services with half an hour of history and a few faults, waits for the page to show it, and stops
everything again: a minute. In the Inter typeface where that is installed (Debian: `fonts-inter`).
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from local.broker import LocalBroker
from tests.browser.chromium import Browser, chromium
from tests.browser.live_page import LivePage
from tests.integration.pipeline import Pipeline
from tests.integration.services import ROOT, eventually

_FOLDER = ROOT / "docs" / "images"


class _Picture(NamedTuple):
    name: str
    scheme: str
    width: int
    end: str
    """The screenshot ends above this element."""


_PICTURES = (
    _Picture("live", "light", 1280, "main > :last-child"),
    _Picture("live-dark", "dark", 1280, "main > :last-child"),
    _Picture("live-phone", "light", 375, ".column:last-child"),
)


async def _main() -> None:
    with tempfile.TemporaryDirectory(prefix="live-page-") as folder, chromium() as browser:
        directory = Path(folder)
        with LocalBroker(directory / "kafka") as broker:
            pipeline = Pipeline(broker.bootstrap_servers, "", directory, window_s=60)
            async with AsyncExitStack() as stack:
                for name in ("processor", "processor", "analytics", "sink"):
                    await stack.enter_async_context(pipeline.service(name))
                generator = pipeline.service("generator", GENERATOR_FAULTS="0.01", GENERATOR_BACKFILL_SECONDS="2000")
                await stack.enter_async_context(generator)
                page = await stack.enter_async_context(LivePage(pipeline))
                browser.open(await page.url())
                await eventually(lambda: _is_full(browser), what="thirty windows are shown")
                for screenshot in _PICTURES:
                    await _take(browser, screenshot)


def _is_full(browser: Browser) -> bool:
    # The rates include the backlog for ten more seconds, the second stage's for longer than the first one's.
    sent, accepted = (_rate(browser, topic) for topic in ("orders", "processed-orders"))
    if not 0.8 * sent < accepted < 1.2 * sent < 100:
        return False
    live = browser.text("#status") == "Live" and browser.text("#all-windows") == "Show all 30 windows"
    return live and browser.texts(".health:not([hidden])") == 3 * ["keeps up"]


def _rate(browser: Browser, topic: str) -> float:
    """Per second; 0 where it is not known yet."""
    text = browser.text(f"#topic-{topic} .rate").removesuffix("/s").replace(",", "")
    return float(text) if text.strip("…") else 0.0


async def _take(browser: Browser, screenshot: _Picture) -> None:
    browser.set_media_features(color_scheme=screenshot.scheme, reduced_motion="reduce")
    browser.resize(screenshot.width, 800)
    await asyncio.sleep(1)
    height = browser.run("return document.querySelector(arguments[0]).getBoundingClientRect().top", screenshot.end)
    browser.resize(screenshot.width, int(height))
    await asyncio.sleep(1)  # redrawn at this size
    (_FOLDER / f"{screenshot.name}.png").write_bytes(browser.screenshot())


if __name__ == "__main__":
    asyncio.run(_main())
