"""`pipeline verify`."""

import gc
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeFloat, NonNegativeInt

from cli.app import EXIT_DONE, EXIT_FAILED
from cli.context import PipelineContext, context_of
from cli.database import address_of_database
from cli.kafka import address_of, run_in_kafka
from cli.options import FOUND, PipelineOptions
from cli.output import messages, print_json, print_table
from libs.events.rights import VIEWER
from verification.output_database import OutputDatabase
from verification.report import Report
from verification.table import render
from verification.verify import verify as verify_pipeline

_NEWEST = 2_000_000
_WIDTH_IN_A_FILE = 160


def verify(
    *,
    output: Path | None = None,
    database: str | None = None,
    database_password_file: Path | None = None,
    catalogue: Annotated[list[Path] | None, Parameter(consume_multiple=False)] = None,
    wait_closed: NonNegativeFloat | None = None,
    newest: NonNegativeInt = _NEWEST,
    json: bool = False,
    pipeline: PipelineOptions = FOUND,
) -> int:
    """Recompute everything from `orders`, and compare it with what the pipeline wrote.

    It compares processed orders, dead letters, late orders and metrics with the topics, the file and the database. It may run
    while the pipeline runs. The exit code is 1 if anything differs, if a stage or the sink stays behind, or if there are no topics.

    Args:
        output: The sink's file (default: the file of local mode or Compose, or SINK_OUTPUT_PATH if its folder exists).
        database: URL of the sink's database (default: SINK_DATABASE_URL, if SINK_OUTPUTS has database).
        database_password_file: File with the database's password (default: SINK_DATABASE_PASSWORD_FILE).
        catalogue: The processor's catalogue (default: PROCESSOR_CATALOGUE_PATH, or the services' own). If the catalogue has
            changed, repeat the option for each version.
        wait_closed: Wait so many seconds for every window to close and to reach the outputs. A window that stays open counts as
            a difference.
        newest: Verify about so many of the newest orders only; a million take 200 MB of memory. 0 verifies all.
        json: Print the report as JSON.
    """
    context = with_outputs(context_of(pipeline), output, database, database_password_file)
    report = _report(context, catalogue or [context.catalogue], wait_closed, newest or None)
    if json:
        print_json(report.as_json())
    else:
        print_table(render(report), _WIDTH_IN_A_FILE)
    if not report.sent:
        messages.print(
            "There is nothing to verify: no record of orders should have been processed yet.", style="yellow"
        )
    return EXIT_DONE if report.ok else EXIT_FAILED


def with_outputs(
    context: PipelineContext, file: Path | None, database: str | None, password_file: Path | None
) -> PipelineContext:
    """The context, with the outputs of the command line in place of those found."""
    found = context.outputs
    outputs = replace(
        found,
        file=file or found.file,
        database_url=database or found.database_url,
        database_password_file=password_file or found.database_password_file,
    )
    return replace(context, outputs=outputs)


def _report(
    context: PipelineContext, catalogues: list[Path], wait_closed_s: float | None, newest: int | None
) -> Report:
    gc.set_threshold(100_000, 50, 100)  # millions of short-lived objects without reference cycles
    kafka = address_of(context)
    outputs = context.outputs
    database = None
    if outputs.database_url is not None:
        address_of_database(outputs.database_url)  # the drivers' errors may contain the password
        database = OutputDatabase(outputs.database_url, outputs.database_password_file)
    with messages.status("connecting") as status:
        return run_in_kafka(
            lambda: verify_pipeline(
                kafka,
                topic_prefix=context.topic_prefix,
                output=outputs.file,
                database=database,
                window_seconds=context.window_seconds,
                wait_closed_s=wait_closed_s,
                catalogues=catalogues,
                progress=status.update,
                newest_orders=newest,
            ),
            kafka,
            context.topic_prefix,
            VIEWER,
        )
