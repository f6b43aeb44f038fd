"""Reports a day or an hour: totals per product, reconciled between topic, file and database; dead letters; late orders.

Writes an HTML page, a CSV file and a JSON file. Exit code 0: reconciled. 3: the sources differ; the report is written all the
same. 1: there is no report, since a source cannot be read, or the span is not complete yet.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from daily_report.formats import as_csv, as_json
from daily_report.gather import DATABASE, FILE, Outputs, gather
from daily_report.page import as_html
from daily_report.report import Report, summed
from daily_report.span import Span, parse_span, yesterday
from daily_report.wording import difference_lines, money, verdict
from dead_letters.printable import printable
from libs.cli import kafka_of, pipeline_flags
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_security.login_refusals import unless_refused
from metrics_report.source_flags import source_flags
from services.sink.database.address import Address, parse_address

_WAIT_S = 60.0
_DIFFERS = 3


def main() -> None:
    """Report, write, exit."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    messages = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        report = asyncio.run(unless_refused(_gather(arguments, messages)))
        paths = _write(report, arguments.folder)
    except PipelineError as error:
        messages.print(f"report: {described(error)}", style="bold red", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.write("".join(f"{line}\n" for line in (*_summary(report), *paths)))
    sys.stdout.flush()
    if not report.is_reconciled:
        messages.print("\n".join(difference_lines(report)), style="bold red", markup=False)
        sys.exit(_DIFFERS)


async def _gather(arguments: argparse.Namespace, messages: Console) -> Report:
    span: Span = arguments.span
    if span.to_s > time.time():
        raise PipelineError(f"{span.name} is not over", advice="it ends at midnight or at the full hour, UTC")
    has = arguments.outputs.lower().split(",")
    address = _address(arguments) if DATABASE in has else None
    with messages.status("connecting") as status:  # says nothing unless it writes to a terminal
        return await gather(
            kafka_of(arguments),
            topic_prefix=arguments.topic_prefix,
            window_seconds=arguments.window_seconds,
            span=span,
            outputs=Outputs(arguments.file if FILE in has else None, address),
            wait_s=arguments.wait,
            progress=status.update,
        )


def _address(arguments: argparse.Namespace) -> Address:
    try:
        return parse_address(arguments.database, arguments.database_password_file)
    except ValueError as error:  # a password file for SQLite
        raise PipelineError(f"SINK_DATABASE_URL: {error}") from error


def _write(report: Report, folder: Path) -> list[Path]:
    """The files, each whole or not at all: somebody may be looking at the last ones."""
    texts = {"html": as_html(report), "csv": as_csv(report), "json": json.dumps(as_json(report), indent=2) + "\n"}
    paths = [folder / f"report-{report.span.name}.{kind}" for kind in texts]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts.values(), strict=True):
            new = path.with_name(f".{path.name}.new")
            new.write_text(text, "utf-8", errors="backslashreplace")
            new.replace(path)
    except OSError as error:
        raise PipelineError(f"nothing can be written into {folder}: {error}", advice="give another --folder") from error
    return paths


def _summary(report: Report) -> list[str]:
    total, late = summed(report.totals), summed(report.late_orders)
    rejected = ", ".join(f"{printable(reason, 40)} {count:,}" for reason, count in sorted(report.dead_letters.items()))
    return [
        f"{report.span.title}: {total.orders:,} orders, {money(total.cents)}",
        verdict(report),
        f"dead letters: {rejected or 'none'}; late orders: {late.orders:,}, {money(late.cents)}",
        *report.notes,
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m daily_report", description=__doc__, parents=[pipeline_flags(), source_flags()]
    )
    parser.add_argument(
        "span",
        nargs="?",
        type=_span,
        default=yesterday(datetime.now(UTC)),
        metavar="SPAN",
        help="a day, 2026-11-27, or an hour, 2026-11-27T14, in UTC (yesterday)",
    )
    parser.add_argument(
        "--outputs",
        type=_outputs,
        default=os.environ.get("SINK_OUTPUTS") or FILE,
        help="what the topic is compared with: file, database, or both with a comma (SINK_OUTPUTS)",
    )
    parser.add_argument("--folder", type=Path, default=Path("output/reports"), help="where to write (output/reports)")
    parser.add_argument(
        "--wait",
        type=float,
        default=_WAIT_S,
        metavar="SECONDS",
        help=f"how long the last windows may take to close, and the outputs to follow the topic ({_WAIT_S:.0f})",
    )
    return parser.parse_args()


def _span(text: str) -> Span:
    try:
        return parse_span(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _outputs(text: str) -> str:
    names = text.lower().split(",")
    if not set(names) <= {FILE, DATABASE}:
        raise argparse.ArgumentTypeError(f"{text!r}: file, database, or both with a comma")
    return text


if __name__ == "__main__":
    main()
