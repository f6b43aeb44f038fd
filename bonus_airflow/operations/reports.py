"""A day's or an hour's report, by the project's own command: `make report`."""

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.commands import PIPELINE, run_command
from bonus_airflow.operations.errors import CommandError, SourcesDifferError, SpanError

log = logging.getLogger(__name__)

# As in daily_report/span.py; for Airflow `daily_report` may be the DAG's file.
_SPAN = re.compile(r"(\d{4}-\d\d-\d\d)|(\d{4}-\d\d-\d\dT\d\d)(:00)?(:00)?Z?")
_SOURCES_DIFFER = 3
_SUMMARY = ("span", "products", "total", "dead_letters", "notes")


def make_report(span: str, folder: str, wait_s: int) -> dict[str, Any]:
    """Write the report of ``span``, a day or an hour of UTC as in 2026-11-27T14 or 2026-11-27T14:00; empty is yesterday.

    ``wait_s`` is how long to wait for open windows, and for file and database to match the topic.

    Returns the content of its JSON file without the differences, amounts in whole cents, and the files' paths.

    Raises:
        SpanError: ``span`` is neither.
        SourcesDifferError: topic, file and database differ. The report is still written.
        CommandError: there is no report; a retry may help.
    """
    span = _name(span) if span else f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    try:
        run_command([PIPELINE, "report", "--folder", folder, "--wait", str(wait_s), span])
    except CommandError as error:
        if error.exit_code != _SOURCES_DIFFER:
            raise
        raise SourcesDifferError(f"topic, file and database differ, see {folder}:\n{error.output}") from error
    files = {kind: str(Path(ROOT, folder, f"report-{span}.{kind}")) for kind in ("html", "csv", "json")}
    report = json.loads(Path(files["json"]).read_text("utf-8"))
    return {name: report[name] for name in _SUMMARY} | files


def _name(span: str) -> str:
    """The name of the span, by which the files are called."""
    if found := _SPAN.fullmatch(span):
        return found[1] or found[2]
    raise SpanError(f"{span!r} is neither a day as in 2026-11-27 nor an hour as in 2026-11-27T14, in UTC")
