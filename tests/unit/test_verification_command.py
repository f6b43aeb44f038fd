import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from libs.runtime.errors import PipelineError
from verification.report import Damage, Report
from verification.table import render
from verification.verify import CATALOGUE, verify


@pytest.mark.parametrize("content", [None, "[]", '{"prod-1": "Lamp"}', '{"prod-1": {}, "prod-1": {}}'])
def test_the_error_for_an_invalid_catalogue_names_it(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "catalogue.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PipelineError, match=r"no catalogue in .*catalogue\.json: .+"):
        asyncio.run(verify("127.0.0.1:1", catalogues=[CATALOGUE, path]))


def table(report: Report) -> str:
    console = Console(width=160, color_system=None)
    with console.capture() as capture:
        console.print(render(report))
    return capture.get()


def test_the_table_labels_its_figures() -> None:
    report = Report(sent=9, processed=9, accepted=9, in_closed_windows=4, in_open_windows=5)
    report.closed_windows, report.open_windows = 2, 3
    shown = table(report)
    assert "in closed windows (metrics: 2)" in shown
    assert "in open windows (metrics to come: 3)" in shown
    assert "A metric is the total of one product in one window." in shown
    assert "not compared" in shown
    assert "is running" not in shown


def test_the_table_explains_why_more_orders_are_accepted_than_processed() -> None:
    report = Report(sent=9, processed=9, accepted=12, in_closed_windows=12)
    assert "accepted also counts 3 orders that arrived during the verification" in table(report)
    report = Report(sent=9, processed=8, accepted=9, in_closed_windows=9)
    report.found(Damage.LOST, "orders[0]@1")
    assert "is running" not in table(report)


def test_an_output_whose_sink_is_behind_does_not_have_each_metric() -> None:
    report = Report(sent=1, processed=1, accepted=1, in_closed_windows=1, lines=0, rows=1)
    report.found(Damage.LINE_BEHIND, "sink is 1 metrics behind the end of product-metrics")
    shown = table(report)
    assert "sink is 1 metrics behind the end of product-metrics" in shown
    assert [line.split("│")[3].strip() for line in shown.splitlines() if "of the topic once" in line] == ["NO", "ok"]


def test_the_table_shows_text_of_other_programs_as_text() -> None:
    report = Report(sent=1)
    report.dead_letters["[/x]"] = 1
    report.found(Damage.WINDOW_WRONG, "[red]a\x1b[2J[/] from 60")
    shown = table(report)
    assert "[/x]" in shown
    assert r"[red]a\x1b[2J[/] from 60" in shown
