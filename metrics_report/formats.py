"""Formats the lines of a report as a table, JSON, JSON lines, CSV or Parquet."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import BinaryIO

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from libs.checkout import pyarrow_advice
from libs.printable import printable
from libs.runtime.errors import PipelineError
from metrics_report.summary import Line, Period, total_of

_COLUMNS = ("period", "product_id", "order_count", "total_revenue", "avg_order_value")
_BAR_COLUMNS = 30


def dollars(cents: int) -> str:
    """Cents as an exact decimal: 12.30."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def as_json(lines: Sequence[Line]) -> str:
    """One JSON document: ``lines``, and their ``total``; amounts are JSON numbers, exact to the cent."""
    document = {"lines": [_object(line) for line in lines], "total": _object(total_of(lines))}
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def as_json_lines(lines: Sequence[Line]) -> str:
    """One JSON object a line, the total last; amounts are JSON numbers, exact to the cent."""
    return "".join(
        orjson.dumps(_object(line), option=orjson.OPT_APPEND_NEWLINE).decode() for line in (*lines, total_of(lines))
    )


def _object(line: Line) -> dict[str, object]:
    return {
        "period": line.period,
        "product_id": line.product_id,
        "order_count": orjson.Fragment(str(line.order_count)),  # a sum may have more than 64 bits
        "total_revenue": orjson.Fragment(dollars(line.revenue_cents)),
        "avg_order_value": orjson.Fragment(dollars(line.average_cents)),
    }


def as_csv(lines: Sequence[Line]) -> str:
    """CSV with a header, the total last."""
    return csv_text(
        [
            _COLUMNS,
            *(
                [
                    line.period,
                    line.product_id or "",
                    line.order_count,
                    dollars(line.revenue_cents),
                    dollars(line.average_cents),
                ]
                for line in (*lines, total_of(lines))
            ),
        ]
    )


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """CSV whose lines end with a line feed. A cell with a carriage return is quoted: otherwise readers end the line there."""
    text = io.StringIO()
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(row)  # the writer quotes the characters of its own line end
        text.write(line.getvalue().removesuffix("\r\n") + "\n")
    return text.getvalue()


TEXTS: dict[str, Callable[[Sequence[Line]], str]] = {"json": as_json, "jsonl": as_json_lines, "csv": as_csv}


def print_metrics(lines: Sequence[Line], period: Period, console: Console, *, plot: bool) -> None:
    """Print a table; with ``plot`` each line has a bar proportional to its revenue."""
    table = Table(title=f"Metrics by {period} (UTC)", title_justify="left")
    table.add_column(period, no_wrap=True)
    table.add_column("product")
    for name in ("orders", "revenue", "average"):
        table.add_column(name, justify="right", no_wrap=True)
    if plot:
        table.add_column("", no_wrap=True)
    most = max((line.revenue_cents for line in lines), default=0)
    for line in lines:
        bar = "█" * round(_BAR_COLUMNS * line.revenue_cents / most) if most > 0 else ""
        table.add_row(*_cells(line), *([bar] if plot else []))
    table.add_section()
    table.add_row(*_cells(total_of(lines)), style="bold")
    console.print(table)


def _cells(line: Line) -> list[str | Text]:
    amounts = (dollars(line.revenue_cents), dollars(line.average_cents))
    # A plain string would be parsed as Rich's markup.
    product = Text(printable(line.product_id or ""))
    return [line.period, product, f"{line.order_count:,}", *amounts]


def write_parquet(lines: Sequence[Line], file: BinaryIO) -> None:
    """The lines without their total, amounts as decimals; raises ``PipelineError`` without pyarrow.

    ``file`` is no path, because pyarrow removes a path that it cannot write to, even a device.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - 45 MB that only this needs
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise PipelineError(
            "Parquet needs pyarrow", advice=f"{pyarrow_advice()}; or choose another --format"
        ) from error
    money = pa.decimal128(38, 2)  # a sum has more digits than a metric
    parquet.write_table(
        pa.table(
            {
                "period": pa.array([line.period_start for line in lines], pa.timestamp("s", "UTC")),
                "product_id": pa.array([line.product_id for line in lines], pa.string()),
                "order_count": pa.array([line.order_count for line in lines], pa.int64()),
                "total_revenue": pa.array([Decimal(dollars(line.revenue_cents)) for line in lines], money),
                "avg_order_value": pa.array([Decimal(dollars(line.average_cents)) for line in lines], money),
            }
        ),
        file,
    )
