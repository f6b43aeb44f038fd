"""A report's files: HTML, CSV and JSON, in one folder."""

import json
from pathlib import Path

from daily_report.formats import as_csv, as_json
from daily_report.page import as_html
from daily_report.report import Report
from libs.atomic_files import atomic_replacement
from libs.runtime.errors import PipelineError


def write_files(report: Report, folder: Path) -> list[Path]:
    """Write the files, each atomically, since the previous ones may be open; returns their paths.

    Raises:
        PipelineError: the folder cannot be written.
    """
    texts = {"html": as_html(report), "csv": as_csv(report), "json": json.dumps(as_json(report), indent=2) + "\n"}
    paths = [folder / f"report-{report.span.name}.{kind}" for kind in texts]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts.values(), strict=True):
            with atomic_replacement(path) as new:
                new.write_text(text, "utf-8", errors="backslashreplace")
    except OSError as error:
        raise PipelineError(f"nothing can be written into {folder}: {error}", advice="give another --folder") from error
    return paths
