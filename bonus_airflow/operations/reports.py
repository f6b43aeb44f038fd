"""A day's or an hour's report, by the project's own command: `make report`."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bonus_airflow.environment import ROOT
from bonus_airflow.operations.commands import PIPELINE, run_command
from bonus_airflow.operations.errors import CommandError, SourcesDifferError

log = logging.getLogger(__name__)

_SOURCES_DIFFER = 3
_SUMMARY = ("span", "products", "total", "dead_letters", "notes")


def make_report(span: str, folder: str, wait_s: int) -> dict[str, Any]:
    """Write the report of ``span``, a day or an hour of UTC as in 2026-11-27T14; empty is yesterday.

    ``wait_s`` is how long to wait for open windows, and for file and database to match the topic.

    Returns the content of its JSON file without the differences, amounts in whole cents, and the files' paths.

    Raises:
        SourcesDifferError: topic, file and database differ. The report is still written.
        CommandError: there is no report; a retry may help.
    """
    span = span or f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    try:
        run_command([PIPELINE, "report", "--folder", folder, "--wait", str(wait_s), span])
    except CommandError as error:
        if error.exit_code != _SOURCES_DIFFER:
            raise
        raise SourcesDifferError(f"topic, file and database differ, see {folder}:\n{error.output}") from error
    files = {kind: str(Path(ROOT, folder, f"report-{span}.{kind}")) for kind in ("html", "csv", "json")}
    report = json.loads(Path(files["json"]).read_text("utf-8"))
    return {name: report[name] for name in _SUMMARY} | files
