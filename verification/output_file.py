"""Reads the sink's files, the live one and the finished ones: one metric a line, or a row in Parquet."""

import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from libs.checkout import pyarrow_advice
from libs.runtime.errors import PipelineError
from verification.metrics import Metric, read_metric
from verification.output_damage import OutputDamage
from verification.output_database import metric_of_row
from verification.report import Damage, Report

LINES = OutputDamage(Damage.LINE_MISSING, Damage.LINE_DUPLICATED, Damage.LINE_UNEXPECTED, Damage.LINE_BEHIND)

_TIME = r"\d{4}-\d\d-\d\dT\d\d-\d\dZ"


def read_lines(
    path: Path, window_seconds: int, report: Report | None = None, since_s: float = float("-inf")
) -> Counter[Metric]:
    """The metrics in the files, none if there is no file yet; invalid lines are reported, if ``report`` is given.

    A last line without a newline is ignored: it is still being written, or a crash interrupted it. Windows that end before
    ``since_s`` are skipped.

    Raises:
        PipelineError: a file cannot be read.
    """
    found: Counter[Metric] = Counter()

    def add(metrics: Iterator[Metric]) -> None:
        found.update(metric for metric in metrics if metric.window_end >= since_s)

    with _readable(path), ExitStack() as exits:
        # Opened before the folder is listed: if it is finished meanwhile, both names have the same inode.
        live = exits.enter_context(path.open("rb")) if path.exists() else None
        for finished in _finished(path, live, since_s - window_seconds):
            if finished.suffix == ".parquet":
                add(_metrics_of_rows(finished, window_seconds, report))
            else:
                with _readable(finished), _opened(finished) as file:
                    add(_metrics_of_lines(file, finished.name, window_seconds, report))
        if live:
            add(_metrics_of_lines(live, path.name, window_seconds, report))
    return found


def live_begins(path: Path, topic: str) -> dict[int, int]:
    """The offset in each partition of ``topic`` at which the live file begins, as the sink's checkpoint has it.

    Earlier metrics are in finished files. Without a legible checkpoint, and if no file was ever finished, there are none.
    """
    try:
        fields = json.loads(path.with_name(path.name + ".checkpoint").read_bytes())
        begins = fields.get("begins", {}) if fields["topic"] == topic else {}
        return {int(partition): int(position["next_offset"]) for partition, position in begins.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _finished(path: Path, live: BinaryIO | None, since_s: float) -> Iterator[Path]:
    """One file for each name: an original exists beside its converted copy for some time, and is then removed."""
    suffixes = [path.suffix, f"{path.suffix}.gz", ".parquet"]
    pattern = rf"({re.escape(path.stem)}-{_TIME}--({_TIME})(?:\.\d+)?)(?:{'|'.join(map(re.escape, suffixes))})"
    found = {re.fullmatch(pattern, file.name) for file in path.parent.iterdir()} if path.parent.is_dir() else set()
    names = sorted({(match[1], match[2]) for match in found if match})
    if live:
        # Now, since reading takes long: once the live file is finished and converted, no name has its inode any more.
        names = [each for each in names if not _is_same(path.with_name(each[0] + path.suffix), live)]
    for name, last in names:
        try:
            if datetime.strptime(f"{last}+0000", "%Y-%m-%dT%H-%MZ%z").timestamp() + 60 <= since_s:
                continue
        except ValueError:
            continue  # not a date, such as month 13: a file of another program
        there = [file for suffix in suffixes if (file := path.with_name(name + suffix)).exists()]
        if there:
            yield there[-1]


def _is_same(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise ``PipelineError`` for a file that is damaged, or cannot be opened."""
    try:
        yield
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:  # pyarrow's are among them
        raise PipelineError(
            f"{path} cannot be read: {error}", advice="put it aside, and its metrics are reported as missing"
        ) from error


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _metrics_of_lines(lines: BinaryIO, name: str, window_seconds: int, report: Report | None) -> Iterator[Metric]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return
        try:
            yield read_metric(line[:-1], window_seconds)
        except ValueError as error:
            if report:
                report.found(Damage.LINE_MALFORMED, f"{name}, line {number}: {line[:200]!r}: {error}")


def _metrics_of_rows(path: Path, window_seconds: int, report: Report | None) -> Iterator[Metric]:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise PipelineError(f"{path} needs pyarrow", advice=pyarrow_advice()) from error
    with _readable(path), parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(10_000):
            for row in batch.to_pylist():
                try:
                    yield _metric_of(row, window_seconds)
                except ValueError as error:
                    if report:
                        report.found(Damage.LINE_MALFORMED, f"{path.name}: {row}: {error}"[:300])


def _metric_of(row: dict[str, Any], window_seconds: int) -> Metric:
    if row["json"] is not None:  # the original line, if the other columns do not contain all of it
        return read_metric(row["json"].encode(), window_seconds)
    times = (int(row[name].timestamp()) for name in ("window_start", "window_end"))
    amounts = (row[name] * 100 for name in ("total_revenue", "avg_order_value"))
    metric = metric_of_row((*times, row["product_id"], row["order_count"], *amounts), window_seconds)
    if metric is None:
        raise ValueError(f"not a window of {window_seconds} s")
    return metric
