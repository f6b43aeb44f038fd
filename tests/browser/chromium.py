"""A headless Chromium, with the operations that the tests need."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

_BINARIES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root, as in a container, cannot have it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--force-device-scale-factor=1",
    "--hide-scrollbars",
)


def chromium_problem() -> str:
    """The missing program, and how to install it; empty if nothing is missing."""
    if any(map(shutil.which, _BINARIES)) and shutil.which("chromedriver"):
        return ""
    return "no Chromium with its driver: install them, on Debian with `apt-get install chromium chromium-driver`"


class Browser:
    """One page of a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    def open(self, url: str) -> None:
        self._driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        """The result of a piece of JavaScript, which is the body of a function."""
        return self._driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The visible text of an element; empty if there is no such element."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)", selector
        )
        return found

    def press(self, key: str) -> None:
        ActionChains(self._driver).send_keys(key).perform()

    def resize(self, width: int, height: int) -> None:
        """Set the size of the viewport, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def set_media_features(self, **features: str) -> None:
        """Set media features: ``color_scheme="dark"``, ``reduced_motion="reduce"``."""
        media_features = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()
        ]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media_features})

    def block(self, *patterns: str) -> None:
        """Let requests for these URLs fail, ``*`` for any characters; those of an earlier call succeed again."""
        self._driver.execute_cdp_cmd("Network.enable", {})
        self._driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": patterns})

    def console_messages(self) -> list[str]:
        """The console messages since the last call: errors, warnings, violations of the content security policy."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] in {"SEVERE", "WARNING"}]

    def requests(self) -> list[str]:
        """The URLs of all requests since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def _log(self, kind: str) -> list[Any]:
        entries: list[Any] = self._driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries

    def screenshot(self) -> bytes:
        """A screenshot as PNG."""
        return self._driver.get_screenshot_as_png()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile, until the ``with`` block ends."""
    options = Options()
    options.binary_location = next(filter(None, map(shutil.which, _BINARIES)))
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
