"""The sink's file: one metric a line."""

from collections import Counter
from pathlib import Path

from verification.report import Damage, Report
from verification.windows import Metric, OutputDamage, read_metric

LINES = OutputDamage(Damage.LINE_MISSING, Damage.LINE_DUPLICATED, Damage.LINE_UNEXPECTED)


def read_lines(path: Path, window_seconds: int, report: Report | None = None) -> Counter[Metric]:
    """The metrics in the file, none when it does not exist yet; what is no metric is reported, if ``report`` is given.

    A last line without its newline is still being written, or was cut by a crash and will be cut off: not yet a line.
    """
    lines: Counter[Metric] = Counter()
    try:
        whole, _, _ = path.read_bytes().rpartition(b"\n")
    except FileNotFoundError:
        return lines
    for position, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            lines[read_metric(line, window_seconds)] += 1
        except ValueError as error:
            if report:
                report.found(Damage.LINE_MALFORMED, f"line {position}: {line[:200]!r}: {error}")
    return lines
