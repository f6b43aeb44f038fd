"""``python services/sink/file/convert.py SOURCE TARGET``: converts a finished metrics file to gzip or Parquet.

It runs as a separate process: pyarrow takes more memory than the sink, and compression would block the sink.
"""

import contextlib
import gzip
import os
import shutil
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # so that this file can be started by its path alone

from libs.events.product_metrics import MetricRow, ProductMetric, decode_metric, encode_metric
from services.sink.file.disk import Disk
from services.sink.file.finished_files import GZIP_SUFFIX, PARQUET_SUFFIX

_CHUNK_BYTES = 1024 * 1024
_GROUP_ROWS = 20_000
_STARTED_BY = os.getppid()


def convert(source: Path, target: Path, disk: Disk) -> None:
    """Create ``target`` with the content of ``source``, atomically and durably.

    ``.gz`` is gzip. ``.parquet`` has times as timestamps and amounts as decimals; its column ``json`` has the original line
    if the other columns do not contain all of it.
    """
    write = {GZIP_SUFFIX: _write_gzip, PARQUET_SUFFIX: _write_parquet}[target.suffix]
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with source.open("rb") as lines, temporary.open("xb") as file:
            write(lines, file)
            file.flush()
            disk.sync(file.fileno())
        _require_sink()
        disk.rename(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    disk.sync_directory(target.parent)


def _require_sink() -> None:
    if os.getppid() != _STARTED_BY:
        raise RuntimeError("the sink has ended: another one may have put the file aside")


def _write_gzip(lines: BinaryIO, file: BinaryIO) -> None:
    with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
        shutil.copyfileobj(lines, compressed, _CHUNK_BYTES)


def _write_parquet(lines: BinaryIO, file: BinaryIO) -> None:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    time, money = pa.timestamp("ms", "UTC"), pa.decimal128(18, 2)
    schema = pa.schema(
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
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(lines):
            columns = zip(*map(_columns, group), strict=True)
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema))


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
    convert(Path(sys.argv[1]), Path(sys.argv[2]), Disk())
