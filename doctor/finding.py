"""The result of a check."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """PROBLEM: something does not work. WARNING: something may not work. SKIPPED: could not be checked."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One row of the table; ``advice`` says how to fix it."""

    subject: str
    level: Level
    message: str
    advice: str = ""


def ok(subject: str, message: str) -> Finding:
    """Nothing is wrong."""
    return Finding(subject, Level.OK, message)


def skipped(subject: str, message: str) -> Finding:
    """It could not be checked."""
    return Finding(subject, Level.SKIPPED, message)


def warning(subject: str, message: str, advice: str) -> Finding:
    """Something may not work."""
    return Finding(subject, Level.WARNING, message, advice)


def problem(subject: str, message: str, advice: str) -> Finding:
    """Something does not work."""
    return Finding(subject, Level.PROBLEM, message, advice)


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether something does not work; warnings do not count."""
    return any(finding.level is Level.PROBLEM for finding in findings)


def findings_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Each with ``subject``, ``level``, ``message`` and ``advice``."""
    return [asdict(finding) for finding in findings]
