"""Renders the report as tables."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from libs.printable import printable
from verification.report import Damage, NotVerified, Report

_REASON_CHARS = 40


def render(report: Report) -> RenderableType:
    """Counts, then the differences, then the result."""
    counts = Table(title="Pipeline verification", title_justify="left", show_header=False)
    counts.add_column()
    counts.add_column(justify="right")
    counts.add_column()
    dead = report.dead_letters.total()
    counts.add_row("orders sent", f"{report.sent:,}")
    counts.add_row("  processed", f"{report.processed:,}")
    counts.add_row("  dead letters", f"{dead:,}")
    for reason, count in sorted(report.dead_letters.items()):
        counts.add_row(Text(f"    {printable(reason, _REASON_CHARS)}"), f"{count:,}")
    outcome_gone = report.not_verified[NotVerified.OUTCOME]
    if outcome_gone:
        counts.add_row("  not verified: no result left in the topics", f"{outcome_gone:,}")
    counts.add_row(
        "  sent = processed + dead letters", "", _mark(report.sent == report.processed + dead + outcome_gone)
    )
    counts.add_section()
    inside = report.in_closed_windows + report.in_open_windows + report.late
    counts.add_row("orders accepted", f"{report.accepted:,}")
    counts.add_row(f"  in closed windows (metrics: {report.closed_windows:,})", f"{report.in_closed_windows:,}")
    counts.add_row(f"  in open windows (metrics to come: {report.open_windows:,})", f"{report.in_open_windows:,}")
    counts.add_row("  late", f"{report.late:,}")
    counts.add_row("  accepted = closed + open + late", "", _mark(report.accepted == inside))
    counts.add_row("  each metric equals its orders, to the cent", "", _mark(not report.wrong_windows))
    counts.add_section()
    for name, written, prefix in (("file", report.lines, "LINE_"), ("database", report.rows, "ROW_")):
        if written is None:
            counts.add_row(f"metrics in the {name}", "not compared")
            continue
        counts.add_row(f"metrics in the {name}", f"{written:,}")
        wrong = any(damage.name.startswith(prefix) for damage in report.damage)
        counts.add_row("  each metric of the topic once", "", _mark(not wrong))
    notes = Text("A metric is the total of one product in one window.", style="dim")
    if (newer := report.accepted - report.processed - report.damage[Damage.LOST]) > 0:
        notes.append(
            f"\nThe pipeline is running: accepted also counts {newer:,} orders that arrived during the verification, processed does not."
        )
    if report.not_verified:
        notes.append(
            "\nNot verified, since the topics or files no longer have their first records, or --newest leaves them out:"
        )
        for what, count in report.not_verified.items():
            notes.append(f"\n  {count:,} times: {what.value}")
    if report.ok:
        result = "No difference in what could be verified." if report.not_verified else "No difference."
        return Group(counts, notes, Text(result, style="bold green"))
    damage = Table(title="Differences", title_justify="left", title_style="bold red")
    damage.add_column("what")
    damage.add_column("count", justify="right")
    damage.add_column("for example", overflow="fold")
    for kind, count in report.damage.items():
        damage.add_row(kind.value, f"{count:,}", Text("\n".join(map(printable, report.examples[kind]))))
    return Group(counts, notes, damage, _verdict(report))


def _verdict(report: Report) -> Text:
    verdict = Text.assemble((f"Differences: {report.damage.total():,}.", "bold red"))
    if report.may_lack_catalogue:
        verdict.append(
            "\nIf the catalogue has changed, repeat --catalogue for each version: --catalogue old.json --catalogue new.json."
        )
    return verdict


def _mark(holds: bool) -> Text:
    return Text("ok", style="green") if holds else Text("NO", style="bold red")
