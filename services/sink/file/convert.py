"""``python services/sink/file/convert.py SOURCE TARGET SINK_PID``: converts a finished metrics file to gzip or Parquet.

It runs as a separate process: pyarrow takes more memory than the sink, and compression would block the sink. If TARGET exists and
has other content, the exit code is ``os.EX_CANTCREAT``. Once the process SINK_PID, its parent, has ended, it creates nothing.
"""

import contextlib
import gzip
import os
import shutil
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # so that this file can be started by its path alone

from libs.events.product_metrics import MetricRow, ProductMetric, decode_metric, encode_metric
from services.sink.file.disk import Disk
from services.sink.file.finished_files import GZIP_SUFFIX, PARQUET_SUFFIX

_CHUNK_BYTES = 1024 * 1024
_GROUP_ROWS = 20_000


def convert(source: Path, target: Path, disk: Disk, sink_pid: int | None = None) -> None:
    """Create ``target`` with the content of ``source``, atomically and durably. If it exists, it is compared and kept.

    ``.gz`` is gzip. ``.parquet`` has times as timestamps and amounts as decimals; its column ``json`` has the original line
    if the other columns do not contain all of it. With ``sink_pid``, nothing is created unless that process is still the parent.

    Raises:
        FileExistsError: ``target`` has other content. The Parquet files of ``metrics.json`` and of ``metrics.jsonl`` beside it
            have the same names.
        RuntimeError: the process ``sink_pid`` has ended.
    """
    if target.exists():
        is_copy = {GZIP_SUFFIX: _is_copy_in_gzip, PARQUET_SUFFIX: _is_copy_in_parquet}[target.suffix]
        with source.open("rb") as lines:
            if not is_copy(lines, target):
                raise FileExistsError(f"{target} does not have the content of {source}")
    else:
        _create(source, target, disk, sink_pid)
    disk.sync_directory(target.parent)


def _create(source: Path, target: Path, disk: Disk, sink_pid: int | None) -> None:
    write = {GZIP_SUFFIX: _write_gzip, PARQUET_SUFFIX: _write_parquet}[target.suffix]
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with source.open("rb") as lines, temporary.open("xb") as file:
            write(lines, file)
            file.flush()
            disk.sync(file.fileno())
        _require_sink(sink_pid)
        disk.link(temporary, target)  # unlike a rename, it replaces nothing
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _require_sink(sink_pid: int | None) -> None:
    if sink_pid not in (None, os.getppid()):
        raise RuntimeError("the sink has ended: another one may have put the file aside")


def _write_gzip(lines: BinaryIO, file: BinaryIO) -> None:
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
        shutil.copyfileobj(lines, compressed, _CHUNK_BYTES)


def _is_copy_in_gzip(lines: BinaryIO, target: Path) -> bool:
    with gzip.open(target) as copy:
        return all(one == other for one, other in zip_longest(_chunks(lines), _chunks(copy)))


def _chunks(file: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK_BYTES), b"")


def _write_parquet(lines: BinaryIO, file: BinaryIO) -> None:
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    with parquet.ParquetWriter(file, _schema(), compression="zstd") as writer:
        for table in _tables(lines):
            writer.write_table(table)


def _is_copy_in_parquet(lines: BinaryIO, target: Path) -> bool:
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    with parquet.ParquetFile(target) as copy:
        groups = map(copy.read_row_group, range(copy.num_row_groups))
        return all(one == other for one, other in zip_longest(_tables(lines), groups))


def _schema() -> "pa.Schema":
    import pyarrow as pa  # noqa: PLC0415 - an extra

    time, money = pa.timestamp("ms", "UTC"), pa.decimal128(18, 2)
    return pa.schema(
        [
            ("window_start", time),
            ("window_end", time),
            ("product_id", pa.string()),
            ("order_count", pa.int64()),
            ("total_revenue", money),
            ("avg_order_value", money),
            ("json", pa.string()),
        ]
    )


def _tables(lines: BinaryIO) -> Iterator["pa.Table"]:
    """One table for each row group."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    schema = _schema()
    for group in _groups(lines):
        columns = zip(*map(_columns, group), strict=True)
        yield pa.table(dict(zip(schema.names, columns, strict=True)), schema)


def _groups(lines: BinaryIO) -> Iterator[list[bytes]]:
    while group := list(islice(lines, _GROUP_ROWS)):
        yield group


def _columns(line: bytes) -> tuple[Any, ...]:
    text = line.rstrip(b"\n")
    try:
        row = decode_metric(text)
    except ValueError:
        return (*[None] * len(MetricRow._fields), text.decode())
    says_all = encode_metric(ProductMetric(*row[:5])) == text
    return (
        row.window_start * 1000,
        row.window_end * 1000,
        row.product_id,
        row.order_count,
        Decimal(row.revenue_cents).scaleb(-2),
        Decimal(row.average_cents).scaleb(-2),
        None if says_all else text.decode(),
    )


if __name__ == "__main__":
    os.nice(10)
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]), Disk(), int(sys.argv[3]))
    except FileExistsError:
        sys.exit(os.EX_CANTCREAT)
