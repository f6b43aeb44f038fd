"""Accessibility of the live page: keyboard, small screens, dark mode, reduced motion, few colours."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from threading import Thread

import orjson
import pytest
from selenium.webdriver.common.keys import Keys

from libs.runtime.http_server.listening import listening_socket
from libs.runtime.http_server.server import HttpServer
from live.feed import Feed, event_stream
from live.pages import page_routes
from tests.browser.chromium import Browser
from tests.integration.services import eventually

WINDOWS = 30

# All features at once, as the server would send them, with names and figures of maximum length.
BUSY = {
    "age_s": 0.4,
    "now_s": 1_795_400_000.0,
    "waiting_for": "",
    "window_s": 60,
    "orders": {"count": 123_456_789_012, "per_s": 205_000.0},
    "accepted": {"per_s": 204_999.0},
    "metrics": {"count": 1_234_567, "uncounted": 3},
    "stages": {
        "processor": {"lag": 123_456_789, "behind_s": 123_456.0, "keeps_up": False, "members": 3},
        "analytics": {"lag": 12, "behind_s": None, "keeps_up": False, "members": 0},
        "sink": {"lag": 0, "behind_s": 0.0, "keeps_up": True, "members": None},
    },
    "event_time": {
        "watermark_s": 1_795_399_990.0,
        "partitions": 1,
        "silent_partitions": [],
        "next_close_s": 1_795_400_040,
        "closes_in_s": 50.0,
    },
    "dead_letters": {"count": 33, "uncounted": 0, "reasons": {"unknown_product": 30, "a_reason_of_another": 3}},
    "late_orders": {"count": 7, "uncounted": 0},
    "sales": {
        "products": [f"product-with-a-name-as-long-as-it-may-be-{number}" for number in range(7)],
        "others": 12,
        "windows": [
            {
                "start_s": 1_795_399_980 - 60 * back,
                "end_s": 1_795_400_040 - 60 * back,
                "whole": back > 0,
                "all": [1_234_567 - back, 98_765_432_10, 80_00],
                "each": [[154_320, 12_345_678_90, 80_00]] * 8,
            }
            for back in reversed(range(WINDOWS))
        ],
    },
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The page's own server, which sends only this snapshot; in a thread, since browser calls block."""
    feed = Feed()
    port: Future[int] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with HttpServer(page_routes() | {"/events": event_stream(feed)}) as server:
            server.on_stop(feed.close)
            port.set_result(await server.start(listening_socket("127.0.0.1", 0)))
            while not stop.is_set():
                feed.publish(orjson.dumps(BUSY))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 1)

    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield f"http://127.0.0.1:{port.result(600)}/"
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
async def page(browser: Browser, url: str) -> AsyncIterator[Browser]:
    """The page with all features, on a large screen and in light mode."""
    browser.resize(1280, 800)
    browser.set_media_features(color_scheme="light", reduced_motion="no-preference")
    browser.open(url)
    await eventually(lambda: browser.text("#status") == "Live", what="the page is live")
    yield browser
    browser.open("about:blank")


async def test_a_partially_read_window_is_marked_as_incomplete(page: Browser) -> None:
    assert page.text("#newest-orders") == "1,234,567+"
    assert page.text("#newest-revenue") == "$98,765,432.10+"
    assert page.text("#cursor-window").endswith("the newest, which may have more")
    assert page.texts("#windows .cut") == ["There may be more."]
    assert page.texts("#windows .total td:first-of-type") == ["all that was read", "all products"]


@pytest.mark.parametrize("width", [360, 768, 993, 1160, 1280])
async def test_no_element_is_wider_than_the_screen(page: Browser, width: int) -> None:
    page.resize(width, 800)
    page.run("document.getElementById('all-windows').click()")
    await eventually(lambda: page.run("return document.documentElement.clientWidth") == width)
    outside = """
        return [...document.body.querySelectorAll('*')]
            .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 || each.getBoundingClientRect().left < -0.5)
            .map(each => each.outerHTML.slice(0, 120))
    """
    assert page.run(outside) == []
    assert page.run("return document.documentElement.scrollWidth") == width
    overlapping = """
        return [...document.querySelectorAll('.stage, td, dd, dt, .name, .rate, .value, h3')]
            .filter(each => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== 'inline')
            .map(each => each.outerHTML.slice(0, 120))
    """
    assert page.run(overlapping) == []
    folded = """
        return [...document.querySelectorAll('.headline dd:not(.quiet)')]
            .filter(each => each.clientHeight > 1.5 * parseFloat(getComputedStyle(each).lineHeight)).map(each => each.innerText)
    """
    assert page.run(folded) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_and_bars_have_enough_contrast(page: Browser, scheme: str) -> None:
    page.set_media_features(color_scheme=scheme)
    grounds = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (_luminance(_rgb(grounds)) < 0.1) == (scheme == "dark")
    found = page.run(_COLOURS)
    assert len(found) > 100
    too_faint = {
        (what, colour, ground) for what, colour, ground, least in found if _contrast(_rgb(colour), _rgb(ground)) < least
    }
    assert too_faint == set()


async def test_stage_states_have_words_and_shapes_besides_colours(page: Browser) -> None:
    assert page.texts(".health:not([hidden])") == ["1.4 d behind", "no reader", "keeps up"]
    marks = page.run(
        "return [...document.querySelectorAll('.health:not([hidden])')].map(each => getComputedStyle(each, '::before').content)"
    )
    assert len(set(marks)) == 3


async def test_all_controls_work_with_the_keyboard(page: Browser) -> None:
    focused = []
    for _ in range(5):
        page.press(Keys.TAB)
        focused.append(page.run("return document.activeElement.id || document.activeElement.textContent"))
        outline = page.run(
            "return getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
        )
        assert outline == "solid3px", focused
    assert focused == ["cursor", "all-windows", "metrics", "snapshot", "health"]

    page.run("document.getElementById('cursor').focus()")
    newest = page.text("#cursor-window")
    assert newest.endswith(", the newest, which may have more")
    page.press(Keys.ARROW_LEFT)
    earlier = page.text("#cursor-window")
    assert earlier != newest
    assert page.text(".column:last-child .all .value") == "1,234,566"
    spoken = page.run("return document.getElementById('cursor').getAttribute('aria-valuetext')")
    assert spoken == f"{earlier}: $98,765,432.10 from 1,234,566 orders"
    assert page.run("return document.querySelectorAll('.bar.chosen').length") == 18
    page.press(Keys.HOME)
    assert page.text(".column:last-child .all .value") == "1,234,538"
    page.press(Keys.END)
    assert page.text("#cursor-window") == newest

    page.run("document.getElementById('all-windows').focus()")
    assert page.run("return document.querySelectorAll('#windows .total').length") == 2
    page.press(Keys.ENTER)
    assert page.run("return document.querySelectorAll('#windows .total').length") == WINDOWS
    assert page.run("return document.getElementById('all-windows').ariaExpanded") == "true"


async def test_hovering_selects_a_window(page: Browser) -> None:
    over = "document.querySelector('.one svg').dispatchEvent(new PointerEvent(arguments[0], {clientX: arguments[1], pointerType: 'mouse'}))"
    left = page.run("return document.querySelector('.one svg').getBoundingClientRect().left")
    page.run(over, "pointermove", left + 3)
    assert page.text(".column:last-child .all .value") == "1,234,538"
    page.run(over, "pointerleave", left - 3)
    assert page.text("#cursor-window").endswith(", the newest, which may have more")


async def test_the_page_is_accessible_to_screen_readers(page: Browser) -> None:
    nameless = """
        return [...document.querySelectorAll('svg, input, button, section, ul, th')]
            .filter(each => !(each.ariaLabel || each.labels?.length || each.textContent.trim() && each.localName !== 'svg'
                || document.getElementById(each.getAttribute('aria-labelledby'))))
            .map(each => each.outerHTML.slice(0, 80))
    """
    assert page.run(nameless) == []
    assert page.run("return [...document.querySelectorAll('[aria-live], [role=status]')].map(each => each.id)") == [
        "status"
    ]
    assert page.run("return document.documentElement.lang") == "en"


async def test_reduced_motion_disables_all_animations(page: Browser) -> None:
    moving = "return [...document.querySelectorAll('.arrow')].filter(each => getComputedStyle(each, '::before').animationName !== 'none').length"
    assert page.run(moving) == 3
    page.set_media_features(color_scheme="light", reduced_motion="reduce")
    assert page.run(moving) == 0


async def test_a_hidden_page_uses_no_connection(page: Browser, url: str) -> None:
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true}); document.dispatchEvent(new Event('visibilitychange'))"
    finished = "return performance.getEntriesByName(arguments[0]).length"
    assert page.run(finished, f"{url}events") == 0
    page.run(hide, True)
    await eventually(lambda: page.run(finished, f"{url}events") == 1, what="the connection has ended")
    page.requests()
    page.run(hide, False)
    await eventually(lambda: f"{url}events" in page.requests(), what="a new one has started")
    assert page.text("#status") == "Live"


# Each text's colour, its background colour, and the minimum contrast: WCAG 2.2 AA, 1.4.3 and 1.4.11.
_COLOURS = """
    const ground = each => {
        for (; each; each = each.parentElement) {
            const colour = getComputedStyle(each).backgroundColor;
            if (!colour.endsWith(', 0)')) return colour;
        }
    };
    const texts = [...document.querySelectorAll('body *')]
        .filter(each => [...each.childNodes].some(child => child.nodeType === 3 && child.data.trim()) && each.checkVisibility());
    return [
        ...texts.map(each => [each.outerHTML.slice(0, 60), each instanceof SVGElement ? getComputedStyle(each).fill : getComputedStyle(each).color, ground(each), 4.5]),
        ...[...document.querySelectorAll('.bar')].map(each => ['bar', getComputedStyle(each).fill, ground(each), 3]),
        ...[...document.querySelectorAll('.share')].map(each => ['share', getComputedStyle(each).backgroundColor, ground(each.parentElement), 3]),
    ];
"""


def _rgb(text: str) -> tuple[float, float, float]:
    red, green, blue = map(float, re.findall(r"[\d.]+", text)[:3])
    return red, green, blue


def _luminance(colour: tuple[float, float, float]) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    shares = (part / 255 for part in colour)
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)
