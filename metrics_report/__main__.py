"""``python -m metrics_report``: metrics by product and period, with a total that is their sum to the cent."""

import argparse
import asyncio
import logging
import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console

from libs.cli import allowed, kafka_of, pipeline_flags
from libs.events.product_metrics import MetricRow
from libs.events.rights import METRICS_READER
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_security.security import KafkaAddress
from metrics_report.file_source import from_file
from metrics_report.formats import TEXTS, dollars, print_table, write_parquet
from metrics_report.skipped import Skipped
from metrics_report.source_flags import source_flags
from metrics_report.sources import from_database, from_topic
from metrics_report.summary import SECONDS, Line, Selection, summarize, total_of
from services.sink.database.address import parse_address

_FORMATS = ("table", *TEXTS, "parquet")


def main() -> None:
    """Report, exit: 0 when something was found, 1 when nothing was or it could not be read."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    messages, skipped = Console(stderr=True), Skipped()
    try:
        with messages.status(f"reading the {arguments.source}"):
            lines = _lines(arguments, skipped)
        if skipped.count:
            messages.print(f"{skipped.count:,} lines or records are no metrics, left out", style="yellow")
        _write(lines, arguments, messages)
    except PipelineError as error:
        messages.print(f"metrics: {described(error)}", style="bold red", soft_wrap=True, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _lines(arguments: argparse.Namespace, skipped: Skipped) -> list[Line]:
    selection = Selection(frozenset(arguments.products), arguments.from_s, arguments.to_s)
    if arguments.source == "topic":
        kafka = kafka_of(arguments)
        work = partial(_read_topic, arguments, kafka, skipped)
        rows = asyncio.run(allowed(work, kafka, arguments.topic_prefix, METRICS_READER))
        return summarize(rows, selection, arguments.by)
    if arguments.source == "file":
        return summarize(from_file(arguments.file, selection, skipped), selection, arguments.by)
    address = parse_address(arguments.database, arguments.database_password_file)
    return summarize(from_database(address, selection), selection, arguments.by)


async def _read_topic(arguments: argparse.Namespace, kafka: KafkaAddress, skipped: Skipped) -> list[MetricRow]:
    return [row async for row in from_topic(kafka, arguments.topic_prefix, skipped)]


def _write(lines: list[Line], arguments: argparse.Namespace, messages: Console) -> None:
    if not lines:
        raise PipelineError("no metrics were found", advice="is there another --source, --product or --from?")
    if arguments.format == "table":
        console = Console(width=None if sys.stdout.isatty() else 120)
        print_table(lines, arguments.by, console, plot=arguments.plot)
    elif arguments.format == "parquet":
        write_parquet(lines, arguments.to_file)
        total = total_of(lines)
        messages.print(
            f"{arguments.to_file}: {len(lines):,} lines, {total.order_count:,} orders, {dollars(total.revenue_cents)}"
        )
    elif arguments.to_file:
        arguments.to_file.write_text(TEXTS[arguments.format](lines), "utf-8")
    else:
        sys.stdout.write(TEXTS[arguments.format](lines))


def _arguments() -> argparse.Namespace:
    outputs = os.environ.get("SINK_OUTPUTS") or "file"
    parser = argparse.ArgumentParser(
        prog="python -m metrics_report", description=__doc__, parents=[pipeline_flags(), source_flags()]
    )
    parser.add_argument(
        "--source",
        choices=["file", "database", "topic"],
        default="file" if "file" in outputs else "database",
        help="where to read (default: what SINK_OUTPUTS names, the file first)",
    )
    parser.add_argument("--by", choices=list(SECONDS), default="hour", help="length of a period (hour)")
    parser.add_argument(
        "--product", action="append", default=[], dest="products", metavar="ID", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--from",
        type=_time,
        default=0,
        dest="from_s",
        metavar="TIME",
        help="2026-11-27, or 2026-11-27T14:30; UTC unless it says otherwise",
    )
    parser.add_argument(
        "--to", type=_time, default=2**63 - 1, dest="to_s", metavar="TIME", help="windows that begin before"
    )
    parser.add_argument("--format", choices=_FORMATS, default="table")
    parser.add_argument("--plot", action="store_true", help="with bars of revenue, in the table")
    parser.add_argument("--to-file", type=Path, metavar="FILE", help="write there; Parquet needs it")
    arguments = parser.parse_args()
    if arguments.format == "parquet" and arguments.to_file is None:
        parser.error("--format parquet needs --to-file")
    return arguments


def _time(text: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time as in 2026-11-27 or 2026-11-27T14:30") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


if __name__ == "__main__":
    main()
