"""The findings as a table."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from doctor.finding import Finding, Level

_STYLES = {Level.OK: "green", Level.SKIPPED: "dim", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def findings_table(findings: Iterable[Finding]) -> Table:
    """One row for each finding, the advice below the message."""
    table = Table(show_lines=False)
    table.add_column("", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    for finding in findings:
        found = Text(finding.message)
        if finding.advice:
            found.append(f"\n-> {finding.advice}", style="bold")
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), finding.subject, found)
    return table
