"""The live page of a real pipeline in a real Chromium: its content, and its recovery after outages."""

import signal
import time

import orjson
import pytest

from tests.browser.conftest import Stage
from tests.browser.expected_page import Row, expected_sales
from tests.integration.pipeline import OrderFields, Pipeline, history
from tests.integration.services import eventually

COLUMNS = 5


async def send(pipeline: Pipeline, orders: list[OrderFields], others: list[bytes] = []) -> None:  # noqa: B006
    values = [*map(orjson.dumps, orders), *others]
    await pipeline.send([(number, values[number::6]) for number in range(6)])


async def open_page(stage: Stage) -> None:
    """The page is open, and all topics exist."""
    await stage.processor.healthy()
    url = await stage.page.url()
    if not stage.browser.run("return location.href.startsWith(arguments[0]) && !!window.stillHere", url):
        stage.browser.open(url)
        stage.browser.run("window.stillHere = true")
    await eventually(lambda: status(stage).startswith("Live"), what="the page is live")


def status(stage: Stage) -> str:
    return stage.browser.text("#status")


def was_not_reloaded(stage: Stage) -> bool:
    return bool(stage.browser.run("return !!window.stillHere"))


def shown_windows(stage: Stage) -> dict[tuple[str, str], list[Row]]:
    """The table's rows by their window, oldest first."""
    windows: dict[tuple[str, str], list[Row]] = {}
    rows = stage.browser.run("return [...windows.rows].map(row => [...row.cells].map(cell => cell.textContent))")
    for row in rows:
        if len(row) == COLUMNS:
            start, _, end = row.pop(0).partition(" \N{EN DASH} ")
            windows[start, end] = []
        windows[start, end].append(tuple(row))
    return dict(reversed(windows.items()))


async def test_sales_late_orders_and_dead_letters_are_shown(stage: Stage) -> None:
    await open_page(stage)
    orders = history(3_000, 100, seed=1, end_s=time.time() - 6)
    unknown_product = orjson.dumps(orders[0] | {"product_id": "none"})
    await send(stage.pipeline, orders, [b"{", b"[", b"\xff", unknown_product, unknown_product])
    expected = expected_sales(orders)
    newest = expected.windows[max(expected.windows)][-1]

    await eventually(lambda: stage.browser.text("#newest-revenue") == newest[2], what="the last window has closed")
    stage.browser.run(
        "if (document.getElementById('all-windows').ariaExpanded === 'false') document.getElementById('all-windows').click()"
    )
    await eventually(lambda: shown_windows(stage) == expected.windows, what="the table has every window")
    assert stage.browser.text("#newest-orders") == newest[1]
    assert stage.browser.text("#late-orders") == "0"
    assert dict(zip(stage.browser.texts(".reason"), stage.browser.texts(".reasons .count"), strict=True)) == {
        "malformed": "3",
        "unknown product": "2",
    }
    assert stage.browser.text("#stage-generator dt") == "in all, up to"
    assert stage.browser.text("#stage-generator dd") == "3,005"
    await eventually(
        lambda: stage.browser.texts(".health:not([hidden])") == 3 * ["keeps up"], what="all stages keep up"
    )
    assert stage.browser.texts("#stage-processor dd") == ["0", "1", "5"]
    assert "No orders are coming in" in status(stage) or status(stage) == "Live"

    captions = {tuple(each.split("\n")) for each in stage.browser.texts("figcaption")}
    nothing = {name: (name, "0", "$0.00", "") for rows in expected.windows.values() for name, *_ in rows}
    rows = nothing | {row[0]: row for row in expected.windows[max(expected.windows)]}
    assert captions == {(row[0].replace("all", "All"), value) for row in rows.values() for value in row[1:3]}
    heights = stage.browser.run(
        "return [...document.querySelector('.all svg').querySelectorAll('.bar')].map(bar => bar.height.baseVal.value)"
    )
    highest = max(range(len(heights)), key=heights.__getitem__)
    for height, revenue in zip(heights, expected.revenue, strict=True):
        assert abs(float(revenue / expected.revenue[highest]) - height / heights[highest]) < 1.5 / heights[highest]


async def test_it_requests_only_its_own_server_and_logs_no_console_errors(stage: Stage) -> None:
    await open_page(stage)
    stage.browser.requests()
    stage.browser.run("location.reload()")
    await eventually(lambda: status(stage).startswith("Live"), what="the page is live again")
    url = await stage.page.url()
    asked = stage.browser.requests()
    assert {f"{url}{name}" for name in ("", "app.js", "style.css", "events")} <= set(asked)
    assert [each for each in asked if not each.startswith(url)] == []
    assert stage.browser.console_messages() == []
    policy = (await stage.page.get("/")).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    # The browser enforces it.
    stage.browser.run(
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'ran = true'}))"
    )
    assert stage.browser.run("return typeof ran") == "undefined"
    assert any("Content Security Policy" in each for each in stage.browser.console_messages())


@pytest.mark.parametrize("name", ["app.js", "format.js", "style.css"])
async def test_it_is_loaded_again_while_a_file_cannot_be_fetched(stage: Stage, name: str) -> None:
    await open_page(stage)
    url = f"{await stage.page.url()}{name}"
    asked: list[str] = []

    def asked_again() -> bool:
        asked.extend(stage.browser.requests())
        return asked.count(url) > 2

    stage.browser.requests()
    stage.browser.block(f"*/{name}")
    try:
        stage.browser.run("location.reload()")
        await eventually(asked_again, what="the page is loaded again")
    finally:
        stage.browser.block()
    await eventually(lambda: status(stage).startswith("Live"), what="the page is live")


async def test_new_windows_appear_without_a_reload(stage: Stage) -> None:
    await open_page(stage)
    orders = history(200, 5, seed=2, end_s=time.time())
    await send(stage.pipeline, orders)
    newest = expected_sales(orders)
    rows = newest.windows[max(newest.windows)]
    await eventually(lambda: rows in shown_windows(stage).values(), what="the last window is shown")
    assert was_not_reloaded(stage)


async def test_the_lag_of_a_dead_stage_grows_and_shrinks_after_its_restart(stage: Stage) -> None:
    await open_page(stage)
    group = ("shop.processor",)
    assert (await stage.page.series("kafka_consumergroup_members"))[group] == 1
    stage.processor.terminate()
    await stage.processor.wait()
    await send(stage.pipeline, history(120, 2, seed=3))
    await eventually(
        lambda: stage.browser.text("#stage-processor .health") == "no reader", what="the missing member is reported"
    )
    await eventually(lambda: stage.browser.texts("#stage-processor dd")[:2] == ["120", "0"], what="the lag is shown")
    assert (await stage.page.series("kafka_consumergroup_lag_sum"))["shop.processor", "shop.orders"] == 120
    assert len(await stage.page.series("kafka_consumergroup_lag")) == 18
    assert (await stage.page.series("kafka_consumergroup_members"))[group] == 0

    stage.processor.start()
    await eventually(lambda: stage.browser.text("#stage-processor .health") == "keeps up", what="it has caught up")

    async def no_group_lags() -> bool:
        return set((await stage.page.series("kafka_consumergroup_lag_sum")).values()) == {0}

    await eventually(no_group_lags, what="no group lags, also where topics end with the end of a transaction")


async def test_it_reconnects_after_a_restart_of_its_server(stage: Stage) -> None:
    await open_page(stage)
    stage.page.process.send_signal(signal.SIGTERM)
    assert await stage.page.wait() == 0
    await eventually(lambda: status(stage) == "Connection lost. Trying again …", what="the lost connection is shown")
    await eventually(lambda: stage.browser.text("#age").startswith("Data is "), what="the age of the data is shown")
    stage.page.start()
    await eventually(lambda: status(stage).startswith("Live"), what="it is live again")
    assert was_not_reloaded(stage)
    assert stage.browser.text("#age") == ""
    stage.browser.console_messages()  # refused connections


async def test_it_recovers_after_a_broker_outage(stage: Stage) -> None:
    await open_page(stage)
    stage.broker.stop_broker()
    waiting = f"Waiting for the broker at {stage.broker.bootstrap_servers} …"
    await eventually(lambda: status(stage) == waiting, what="the reason for the wait is shown")
    shown_before = shown_windows(stage)
    await eventually(lambda: stage.browser.text("#age").startswith("Data is "), what="the age of the data is shown")
    assert shown_windows(stage) == shown_before != {}
    stage.broker.start()
    await eventually(lambda: status(stage).startswith("Live"), what="it is live again")
    assert was_not_reloaded(stage)
    assert (await stage.page.get("/health")).status == 200
