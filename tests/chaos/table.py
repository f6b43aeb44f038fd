"""The outcomes of the episodes as a table for a terminal and in Markdown."""

from collections.abc import Sequence

from rich.table import Table

from tests.chaos.episode import Outcome
from verification.report import Damage

_WINDOW_DAMAGE = (
    Damage.WINDOW_WRONG,
    Damage.WINDOW_DUPLICATED,
    Damage.WINDOW_UNEXPECTED,
    Damage.WINDOW_MISSING,
    Damage.NOT_CLOSED,
    Damage.METRIC_MALFORMED,
)
_COLUMNS = (
    "fault",
    "times",
    "orders",
    "lost",
    "duplicated",
    "wrong windows",
    "other differences",
    "late",
    "longest stall (s)",
    "time to recover (s)",
    "peak lag",
    "peak memory (MB)",
    "restarts",
    "",
)


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The header, and a row for each episode."""
    return [_COLUMNS, *(_row(outcome) for outcome in outcomes)]


def _row(outcome: Outcome) -> tuple[str, ...]:
    report = outcome.report
    wrong = sum(report.damage[kind] for kind in _WINDOW_DAMAGE)
    counted = report.lost + report.duplicated + wrong
    return (
        outcome.name,
        f"{outcome.injected.total()}",
        f"{report.sent:,}",
        f"{report.lost:,}",
        f"{report.duplicated:,}",
        f"{wrong:,}",
        f"{report.damage.total() - counted:,}",
        f"{report.late:,}",
        f"{outcome.stall_s:.1f}",
        f"{outcome.recovery_s:.1f}",
        f"{outcome.peak_lag:,}",
        f"{max((max(sizes) for sizes in outcome.memory_mb.values()), default=0):.0f}",
        f"{outcome.restarts}",
        "ok" if outcome.ok else "FAILED",
    )


def render(outcomes: Sequence[Outcome]) -> Table:
    """The table for a terminal."""
    head, *body = rows(outcomes)
    table = Table(title="Chaos", title_justify="left")
    for name in head:
        table.add_column(name, justify="left" if name in ("fault", "") else "right", overflow="fold")
    for row in body:
        table.add_row(*row, style=None if row[-1] == "ok" else "bold red")
    return table


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table in Markdown."""
    head, *body = rows(outcomes)
    lines = [head, tuple("---" if name in ("fault", "") else "--:" for name in head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def findings(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each problem."""
    lines = []
    for outcome in outcomes:
        lines += [f"{outcome.name}: {problem}" for problem in outcome.problems]
        for kind, count in outcome.report.damage.items():
            examples = "; ".join(outcome.report.examples[kind][:2])
            lines.append(f"{outcome.name}: {count:,} times {kind.value}, for example {examples}")
    return lines
