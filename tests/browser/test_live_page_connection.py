"""The live page holds a connection only while it is visible."""

from base64 import b64encode

from tests.browser.chromium import Browser
from tests.integration.services import ROOT

# The numbers of open connections: first, and after each change of visibility.
CONNECTIONS = """
const [module, changes] = arguments;
const sources = [];
window.EventSource = class {
  constructor() { this.isOpen = sources.push(this) > 0; }
  close() { this.isOpen = false; }
};
const count = () => sources.filter((source) => source.isOpen).length;
const set = (hidden) => Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
set(changes.shift());
return import(`data:text/javascript;base64,${module}`).then(({ connect }) => {
  connect(() => {}, () => {});
  return [count(), ...changes.map((hidden) => {
    set(hidden);
    document.dispatchEvent(new Event("visibilitychange"));
    return count();
  })];
});
"""


def connections(browser: Browser, *hidden: bool) -> list[int]:
    module = b64encode((ROOT / "live" / "page" / "connection.js").read_bytes()).decode()
    browser.open("about:blank")
    browser.console_messages()
    counts: list[int] = browser.run(CONNECTIONS, module, hidden)
    assert browser.console_messages() == []
    return counts


def test_a_page_that_is_opened_in_the_background_connects_when_it_is_first_shown(browser: Browser) -> None:
    assert connections(browser, True, True, False, True, False) == [0, 0, 1, 0, 1]


def test_a_visible_page_has_one_connection(browser: Browser) -> None:
    assert connections(browser, False, False, True) == [1, 1, 0]
