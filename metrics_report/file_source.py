"""Reads the metrics from the sink's files: the finished ones and the live one."""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from libs.checkout import pyarrow_advice
from libs.events.product_metrics import MetricRow, decode_metric
from libs.runtime.errors import PipelineError
from metrics_report.skipped import Skipped
from metrics_report.summary import Selection
from services.sink.file.finished_files import GZIP_SUFFIX, PARQUET_SUFFIX, FinishedFile, finished_files

_READ_ROWS = 50_000


def from_file(
    path: Path, selection: Selection, skipped: Skipped, advice: str = "give another --file, or --source"
) -> Iterator[MetricRow]:
    """The metrics of the file at ``path`` and of the finished files beside it, each once, even while one is being finished.

    Finished files without a window in the selection's time are skipped. ``path`` may be a finished file itself. ``advice`` is that of the
    error for a file that cannot be read.

    Raises:
        PipelineError: there is no such file, or one cannot be read.
    """
    try:
        if path.suffix in (GZIP_SUFFIX, PARQUET_SUFFIX):
            yield from _rows(path, skipped, advice)
            return
        with ExitStack() as exits:
            # Open the live file first. If it is finished meanwhile, it is recognised among the finished files by its inode.
            live = exits.enter_context(path.open("rb")) if path.exists() else None
            finished = list(finished_files(path))
            if live is None and not finished:
                raise FileNotFoundError("no such file")
            for files in _by_name(finished, live):
                if files[0].span.first_s < selection.to_s and files[0].windows_begin_before_s > selection.from_s:
                    yield from _rows_of_first(files, skipped, advice)
            if live:
                yield from _rows_of_lines(live, skipped)
    except OSError as error:
        raise _unreadable(path, error, advice) from error


def _by_name(finished: Iterable[FinishedFile], live: BinaryIO | None) -> list[list[FinishedFile]]:
    """The formats of each finished file except ``live``, converted ones first, since those are never removed.

    To be called right after the listing: once the live file is finished and converted, no name has its inode any more.
    """
    by_name: dict[str, list[FinishedFile]] = {}
    for file in sorted(finished, key=lambda each: (each.name, not each.is_converted)):
        by_name.setdefault(file.name, []).append(file)
    return [files for files in by_name.values() if not (live and any(_is_same(file.path, live) for file in files))]


def _is_same(path: Path, live: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(live.fileno()))
    except FileNotFoundError:
        return False


def _rows_of_first(files: list[FinishedFile], skipped: Skipped, advice: str) -> Iterator[MetricRow]:
    """The rows of the first format that exists: an original is removed some time after its conversion."""
    original = files[-1].path
    name = original.with_name(files[-1].name)
    others = [original.with_name(original.name + GZIP_SUFFIX), name.with_name(name.name + PARQUET_SUFFIX)]
    path = next((each for each in (*(file.path for file in files), *others) if each.exists()), original)
    yield from _rows(path, skipped, advice)


def _rows(path: Path, skipped: Skipped, advice: str) -> Iterator[MetricRow]:
    try:
        if path.suffix == PARQUET_SUFFIX:
            yield from _rows_of_parquet(path, skipped)
            return
        with cast(BinaryIO, gzip.open(path)) if path.suffix == GZIP_SUFFIX else path.open("rb") as file:
            yield from _rows_of_lines(file, skipped)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error, advice) from error


def _unreadable(path: Path, error: Exception, advice: str) -> PipelineError:
    return PipelineError(f"{path} cannot be read: {error}", advice=advice)


def _rows_of_lines(file: BinaryIO, skipped: Skipped) -> Iterator[MetricRow]:
    """The rows of all complete lines; one without a line break is still being written."""
    for line in file:
        if not line.endswith(b"\n"):
            return
        try:
            yield decode_metric(line)
        except ValueError:
            skipped.count += 1


def _rows_of_parquet(path: Path, skipped: Skipped) -> Iterator[MetricRow]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - 45 MB that only Parquet needs
    except ImportError as error:
        raise PipelineError(
            f"{path} needs pyarrow",
            advice=pyarrow_advice(),
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_READ_ROWS):
                for row in batch.to_pylist():
                    if row["product_id"] is None:
                        skipped.count += 1
                        continue
                    start, end = (int(row[name].timestamp()) for name in ("window_start", "window_end"))
                    cents = (int(row[name].scaleb(2)) for name in ("total_revenue", "avg_order_value"))
                    yield MetricRow(start, end, row["product_id"], row["order_count"], *cents)
    except ArrowInvalid as error:
        raise PipelineError(f"{path} is no Parquet file: {error}") from error
    except KeyError as error:
        raise PipelineError(f"{path} is no file of the sink: it has no column {error}") from error
