"""The live page and the terminal format numbers equally."""

from base64 import b64encode
from collections.abc import Callable

import pytest

from tests.browser.chromium import Browser
from tests.integration.services import ROOT
from watch.wording import duration, per_second, short_duration

# No ties: Python rounds a half to even, JavaScript rounds it up.
NUMBERS = (0, 0.04, 0.26, 1, 9.7, 10.2, 48.3, 59.7, 99.4, 100, 3541, 7260, 86_000, 90_000, 123_456, 9e6)


@pytest.mark.parametrize(
    ("name", "format_number"), [("perSecond", per_second), ("shortDuration", short_duration), ("duration", duration)]
)
def test_numbers_are_formatted_as_in_the_terminal(
    browser: Browser, name: str, format_number: Callable[[float], str]
) -> None:
    module = b64encode((ROOT / "live" / "page" / "format.js").read_bytes()).decode()
    script = "return import(`data:text/javascript;base64,${arguments[0]}`).then(words => arguments[2].map(each => words[arguments[1]](each)))"

    browser.open("about:blank")

    assert browser.run(script, module, name, NUMBERS) == [format_number(number) for number in NUMBERS]
