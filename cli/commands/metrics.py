"""`pipeline metrics`."""

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from cli.context import Environment, Machine, Origin, ThisMachine, context_of, local_settings
from cli.database import address_of_database, default_database
from cli.errors import UsageError
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import console_for, messages
from libs.atomic_files import atomic_replacement
from libs.events.rights import METRICS_READER
from libs.printable import time_of
from libs.runtime.errors import PipelineError
from local.settings import LocalSettings
from metrics_report.file_source import from_file
from metrics_report.formats import TEXTS, dollars, print_metrics, write_parquet
from metrics_report.skipped import Skipped
from metrics_report.sources import from_database, from_topic
from metrics_report.summary import Line, Period, Selection, Sums, summarize, total_of

Source = Literal["file", "database", "topic"]
Format = Literal["table", "json", "jsonl", "csv", "parquet"]

_OUTPUT_SETTINGS = ("SINK_OUTPUTS", "SINK_OUTPUT_PATH", "SINK_DATABASE_URL")
_FAR_FUTURE_S = 2**63 - 1
_WIDTH_IN_A_FILE = 120


def _time_s(_: Any, tokens: Any) -> int:
    text = tokens[0].value
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time, such as 2026-11-27 or 2026-11-27T14:30") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


Time = Annotated[int | None, Parameter(converter=_time_s, metavar="TIME")]


@dataclass(frozen=True)
class SinkOutputs:
    """Where the sink writes, and which of its outputs is read by default."""

    source: Source
    file: Path
    database_url: str = field(repr=False)
    database_password_file: Path | None


def metrics(
    *,
    source: Source | None = None,
    by: Period = "hour",
    product: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None,
    from_: Annotated[Time, Parameter(name="--from")] = None,
    to: Time = None,
    format: Format = "table",
    json: bool = False,
    plot: bool = False,
    to_file: Path | None = None,
    file: Path | None = None,
    database: str | None = None,
    database_password_file: Path | None = None,
    pipeline: PipelineOptions = FOUND,
) -> None:
    """Show count, revenue and average by product and period, with an exact total.

    The exit code is 1 if there are no metrics.

    Args:
        source: Source of the metrics (default: the one that --file or --database names, else the sink's output; of two, the file.
            With --bootstrap, the topic, unless SINK_OUTPUTS, SINK_OUTPUT_PATH or SINK_DATABASE_URL is set).
        by: Length of a period.
        product: Show this product only; may be repeated.
        from_: Begin with the windows that start at this time or later: 2026-11-27 or 2026-11-27T14:30, UTC without an offset.
        to: End before the windows that start at this time.
        format: jsonl has one JSON object a line, the total last. parquet needs --to-file.
        json: Print one JSON document, as --format json does.
        plot: Add bars of revenue to the table.
        to_file: Write to this file.
        file: The sink's file, or one of its rotated files (default: SINK_OUTPUT_PATH, or the file of local mode). Rotated files
            beside the sink's file are read, too.
        database: URL of the sink's database (default: SINK_DATABASE_URL, or the database of local mode).
        database_password_file: File with the database's password (default: SINK_DATABASE_PASSWORD_FILE).
    """
    wanted: Format = "json" if json else format
    if wanted == "parquet" and to_file is None:
        raise UsageError("--format parquet needs --to-file")
    if database is not None:
        address_of_database(database)
    known = known_outputs(pipeline, os.environ, ThisMachine())
    selection = Selection(frozenset(product or []), from_ or 0, _FAR_FUTURE_S if to is None else to)
    skipped = Skipped()
    where = source or _named_source(file, database) or known.source
    with messages.status(f"reading the {where}"):
        if where == "topic":
            lines = _lines_of_topic(pipeline, selection, by, skipped)
        elif where == "file":
            lines = summarize(from_file(file or known.file, selection, skipped), selection, by)
        else:
            password_file = database_password_file or known.database_password_file
            address = address_of_database(database or known.database_url, password_file)
            lines = summarize(from_database(address, selection), selection, by)
    if skipped.count:
        messages.print(f"{skipped.count:,} lines or records are not metrics, and were skipped", style="yellow")
    if (missing_until_s := skipped.history.latest_missing_metric_s(selection.products)) > selection.from_s:
        messages.print(_retention_note(missing_until_s), style="yellow")
    if not lines:
        raise PipelineError("no metrics were found", advice="try another --source, --product or --from")
    _write(lines, wanted, by, to_file, plot=plot)


def _named_source(file: Path | None, database: str | None) -> Source | None:
    """The source that the options name; None if they name none."""
    if file is not None:
        return "file"
    return "database" if database is not None else None


def known_outputs(pipeline: PipelineOptions, environment: Environment, machine: Machine) -> SinkOutputs:
    """The outputs of the pipeline that the options and the environment name, else of the one on this machine.

    Found as by ``cli.context``, but nothing has to run: outputs can be read without a broker.

    Raises:
        NoPipelineError: --local, and none is running.
        UsageError: the options name two pipelines.
    """
    if pipeline.local:
        return sink_outputs({}, local_settings(pipeline, machine))
    if pipeline.bootstrap:
        found = sink_outputs(environment, None)
        return found if any(map(environment.get, _OUTPUT_SETTINGS)) else replace(found, source="topic")
    if environment.get(Origin.ENVIRONMENT):
        return sink_outputs(environment, None)
    if running := machine.running_local_mode():
        return sink_outputs(environment, running)
    # The path in the sink's container is not one on this machine.
    of_compose = {name: text for name, text in machine.compose_environment().items() if name != "SINK_OUTPUT_PATH"}
    return sink_outputs({**of_compose, **environment}, None)


def sink_outputs(environment: Mapping[str, str], running: LocalSettings | None) -> SinkOutputs:
    """The sink's outputs by the environment, else by the settings of local mode, else the defaults."""
    outputs = environment.get("SINK_OUTPUTS") or (running.sink_outputs if running else "file")
    # OUTPUT_DIR is the folder of the sink's container.
    of_container = Path(environment.get("OUTPUT_DIR") or "output") / "metrics.json"
    file = environment.get("SINK_OUTPUT_PATH") or (running.sink_output_path if running else of_container)
    database = environment.get("SINK_DATABASE_URL") or (running.sink_database_url if running else None)
    password_file = environment.get("SINK_DATABASE_PASSWORD_FILE")
    return SinkOutputs(
        "file" if "file" in outputs.lower() else "database",
        Path(file),
        database or default_database(of_container.parent),
        Path(password_file) if password_file else None,
    )


def _retention_note(missing_until_s: float) -> str:
    which = (
        "any metric"
        if missing_until_s == math.inf
        else f"metrics of windows that end by {time_of(missing_until_s * 1000)}"
    )
    return (
        f"retention may have deleted {which} from the topic, so sums can be too small; the sink's outputs may have them"
    )


def _lines_of_topic(options: PipelineOptions, selection: Selection, by: Period, skipped: Skipped) -> list[Line]:
    context = context_of(options)
    kafka = address_of(context)

    async def read() -> list[Line]:
        sums = Sums(selection, by)
        async for row in from_topic(kafka, context.topic_prefix, skipped):
            sums.add(row)
        return sums.lines()

    return run_in_kafka(read, kafka, context.topic_prefix, METRICS_READER)


def _write(lines: list[Line], wanted: Format, by: Period, to_file: Path | None, *, plot: bool) -> None:
    if to_file:
        try:
            with atomic_replacement(to_file) as new:
                _write_file(lines, wanted, by, new, plot=plot)
        except OSError as error:
            raise PipelineError(
                f"{to_file} cannot be written: {error.strerror or error}",
                advice="give another --to-file; the container can write below output/ only",
            ) from error
        total = total_of(lines)
        messages.print(f"{to_file}: {len(lines):,} lines, {total.order_count:,} orders, {dollars(total.revenue_cents)}")
    elif wanted == "table":
        print_metrics(lines, by, console_for(_WIDTH_IN_A_FILE), plot=plot)
    else:
        sys.stdout.write(TEXTS[wanted](lines))


def _write_file(lines: list[Line], wanted: Format, by: Period, path: Path, *, plot: bool) -> None:
    if wanted == "table":
        with path.open("w", encoding="utf-8") as text:
            console = Console(file=text, width=_WIDTH_IN_A_FILE, force_terminal=False, markup=False, emoji=False)
            print_metrics(lines, by, console, plot=plot)
    elif wanted == "parquet":
        with path.open("wb") as file:
            write_parquet(lines, file)
    else:
        path.write_text(TEXTS[wanted](lines), "utf-8")
