"""`pipeline report`."""

import os
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from cyclopts.types import NonNegativeFloat

from cli.app import EXIT_DIFFERS, EXIT_DONE
from cli.commands.verify import with_outputs
from cli.context import Origin, PipelineContext, context_of
from cli.database import address_of_database, default_database
from cli.errors import UsageError
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import messages, print_line
from daily_report.files import write_files
from daily_report.gather import DATABASE, FILE, Outputs, gather
from daily_report.report import Report
from daily_report.span import Span, parse_span, yesterday
from daily_report.wording import difference_lines, summary_lines
from libs.events.rights import VIEWER
from libs.runtime.errors import PipelineError

_FILE = Path("output/metrics.json")


def report(
    span: str | None = None,
    /,
    *,
    outputs: str | None = None,
    folder: Path = Path("output/reports"),
    wait: NonNegativeFloat = 60.0,
    file: Path | None = None,
    database: str | None = None,
    database_password_file: Path | None = None,
    pipeline: PipelineOptions = FOUND,
) -> int:
    """Report a day or an hour: totals per product, reconciled between topic, file and database; dead letters; late orders.

    Writes an HTML page, a CSV file and a JSON file. The exit code is 3 if the sources differ; the report is written then, too. It
    is 1 if there is no report, because a source cannot be read or the span is not complete yet. If no output is known to compare the
    topic with, the report says so, and the exit code is 0.

    Args:
        span: A day (2026-11-27) or an hour (2026-11-27T14) in UTC (default: yesterday).
        outputs: Outputs to compare with the topic: file, database, or both with a comma (default: those of the sink, and those that
            --file and --database name. With --bootstrap or KAFKA_BOOTSTRAP_SERVERS, those of the sink are compared only if
            SINK_OUTPUTS, SINK_OUTPUT_PATH or SINK_DATABASE_URL is set).
        folder: Folder to write to.
        wait: Seconds to wait for the last windows to close and to reach the outputs.
        file: The sink's file (default: SINK_OUTPUT_PATH, or the file of local mode). Rotated files beside it are read, too.
        database: URL of the sink's database (default: SINK_DATABASE_URL, or the database of local mode).
        database_password_file: File with the database's password (default: SINK_DATABASE_PASSWORD_FILE).
    """
    when = _span(span)
    if outputs is not None:
        _check_names(outputs, "--outputs")
    if when.to_s > time.time():
        raise PipelineError(f"{when.name} is not over", advice="it ends at midnight or at the full hour, UTC")
    context = with_outputs(context_of(pipeline), file, database, database_password_file)
    given = {name for name, option in ((FILE, file), (DATABASE, database)) if option is not None}
    found = _gather(context, when, compared_outputs(context, outputs, given), wait)
    paths = write_files(found, folder)
    print_line("\n".join((*summary_lines(found), *map(str, paths))))
    if not found.is_faulty:
        return EXIT_DONE
    text = "\n".join(difference_lines(found))
    messages.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)
    return EXIT_DIFFERS


def compared_outputs(context: PipelineContext, names: str | None, given: Collection[str] = ()) -> Outputs:
    """The outputs in ``names``, else those of the pipeline's sink, and those ``given`` by an option.

    For a pipeline named by its address, SINK_OUTPUTS says what its sink writes; without it these are the outputs whose place
    SINK_OUTPUT_PATH or SINK_DATABASE_URL tells. If neither a setting of the sink nor an option names an output, there is none: this machine's
    file is that of another pipeline.
    """
    found = context.outputs
    if names is None and context.origin in (Origin.LOCAL, Origin.COMPOSE):
        has = {name for name, where in ((FILE, found.file), (DATABASE, found.database_url)) if where}
    else:
        has = set()
        if written := names or os.environ.get("SINK_OUTPUTS"):
            has = _check_names(written, "SINK_OUTPUTS")
        elif not given:
            places = (
                (FILE, found.file or os.environ.get("SINK_OUTPUT_PATH")),
                (DATABASE, os.environ.get("SINK_DATABASE_URL")),
            )
            has = {name for name, where in places if where}
        if names is None:
            has |= {*given}
    file = found.file or Path(os.environ.get("SINK_OUTPUT_PATH") or _FILE)
    url = found.database_url or os.environ.get("SINK_DATABASE_URL") or default_database(_FILE.parent)
    return Outputs(
        file if FILE in has else None,
        address_of_database(url, found.database_password_file) if DATABASE in has else None,
    )


def _gather(context: PipelineContext, span: Span, outputs: Outputs, wait_s: float) -> Report:
    kafka = address_of(context)
    with messages.status("connecting") as status:
        return run_in_kafka(
            lambda: gather(
                kafka,
                topic_prefix=context.topic_prefix,
                window_seconds=context.window_seconds,
                span=span,
                outputs=outputs,
                wait_s=wait_s,
                progress=status.update,
            ),
            kafka,
            context.topic_prefix,
            VIEWER,
        )


def _span(text: str | None) -> Span:
    if text is None:
        return yesterday(datetime.now(UTC))
    try:
        return parse_span(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_names(text: str, where: str) -> set[str]:
    names = {name.strip() for name in text.lower().split(",")}
    if not names <= {FILE, DATABASE}:
        raise UsageError(f"{where} {text!r}: file, database, or both with a comma are allowed")
    return names
