"""What a check comes to."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: a PROBLEM keeps something from working, a WARNING may, a check that was SKIPPED says nothing."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the table; ``advice`` says how to mend it."""

    subject: str
    level: Level
    message: str
    advice: str = ""


def ok(subject: str, message: str) -> Finding:
    """Nothing is wrong."""
    return Finding(subject, Level.OK, message)


def skipped(subject: str, message: str) -> Finding:
    """It could not be looked at."""
    return Finding(subject, Level.SKIPPED, message)


def warning(subject: str, message: str, advice: str) -> Finding:
    """It may keep something from working."""
    return Finding(subject, Level.WARNING, message, advice)


def problem(subject: str, message: str, advice: str) -> Finding:
    """It keeps something from working."""
    return Finding(subject, Level.PROBLEM, message, advice)


def has_problem(findings: Iterable[Finding]) -> bool:
    """Whether something does not work; warnings do not count."""
    return any(finding.level is Level.PROBLEM for finding in findings)


def findings_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Each with ``subject``, ``level``, ``message`` and ``advice``."""
    return [asdict(finding) for finding in findings]
