"""``python -m verification``: exit code 0 when nothing differs, 1 when something does or nothing can be proved."""

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from libs.cli import allowed, kafka_of, pipeline_flags
from libs.events.rights import VIEWER
from libs.runtime.errors import PipelineError, described
from libs.runtime.kafka_security.security import KafkaAddress
from verification.output_database import OutputDatabase
from verification.report import Report
from verification.table import render
from verification.verify import CATALOGUE, verify

_NEWEST = 2_000_000
_DEFAULT_DATABASE = "sqlite:///output/metrics.db"


def main() -> None:
    """Verify, print, exit."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    gc.set_threshold(100_000, 50, 100)  # records come and go by the million, none of them in a cycle
    messages = Console(stderr=True)
    try:
        kafka = kafka_of(arguments)
        work = partial(_verify, arguments, kafka, messages)
        report = asyncio.run(allowed(work, kafka, arguments.topic_prefix, VIEWER))
    except PipelineError as error:
        messages.print(f"verification: {described(error)}", style="bold red", soft_wrap=True, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    else:
        # Into a file or a pipe, a table as wide as it needs to be is easier to search than a folded one.
        Console(width=None if sys.stdout.isatty() else 160).print(render(report))
    sys.exit(0 if report.ok else 1)


async def _verify(arguments: argparse.Namespace, kafka: KafkaAddress, messages: Console) -> Report:
    with messages.status("connecting") as status:  # says nothing unless it writes to a terminal
        return await verify(
            kafka,
            topic_prefix=arguments.topic_prefix,
            output=arguments.output,
            database=OutputDatabase(arguments.database, arguments.database_password_file)
            if arguments.database
            else None,
            window_seconds=arguments.window_seconds,
            wait_closed_s=arguments.wait_closed,
            catalogues=arguments.catalogues,
            progress=status.update,
            newest_orders=arguments.newest or None,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m verification", description=__doc__, parents=[pipeline_flags()])
    written = os.environ.get("SINK_OUTPUT_PATH")
    parser.add_argument(
        "--output",
        type=Path,
        default=written if written and Path(written).exists() else None,
        metavar="FILE",
        help="the sink's file (default: SINK_OUTPUT_PATH, if there is such a file)",
    )
    in_database = "database" in os.environ.get("SINK_OUTPUTS", "").lower()
    parser.add_argument(
        "--database",
        default=(os.environ.get("SINK_DATABASE_URL") or _DEFAULT_DATABASE) if in_database else None,
        metavar="URL",
        help="the sink's database (default: SINK_DATABASE_URL, if SINK_OUTPUTS has database)",
    )
    password_file = os.environ.get("SINK_DATABASE_PASSWORD_FILE")
    parser.add_argument(
        "--database-password-file",
        type=Path,
        default=Path(password_file) if password_file else None,
        metavar="FILE",
        help="file that holds its password (default: SINK_DATABASE_PASSWORD_FILE)",
    )
    parser.add_argument(
        "--catalogue",
        type=Path,
        action="append",
        dest="catalogues",
        metavar="FILE",
        help="the processor's catalogue (default: PROCESSOR_CATALOGUE_PATH, or the services' own); "
        "if that has changed, give the flag once for each that the processor has had",
    )
    parser.add_argument(
        "--wait-closed",
        type=float,
        metavar="SECONDS",
        help="wait this long for every window to close and to reach the outputs; one that stays open is a difference",
    )
    parser.add_argument(
        "--newest",
        type=int,
        default=_NEWEST,
        metavar="ORDERS",
        help=f"verify only about so many of the newest orders, for which a million take 200 MB of memory ({_NEWEST}; 0: all)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args()
    if not arguments.catalogues:
        arguments.catalogues = [Path(os.environ.get("PROCESSOR_CATALOGUE_PATH") or CATALOGUE)]
    return arguments


if __name__ == "__main__":
    main()
