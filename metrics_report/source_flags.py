"""The flags by which a command finds the sink's outputs; each defaults to the sink's own setting."""

import argparse
import os
from pathlib import Path

from services.sink.database.address import parse_address


def source_flags() -> argparse.ArgumentParser:
    """A parent parser with ``--file``, ``--database`` and ``--database-password-file``."""
    password_file = os.environ.get("SINK_DATABASE_PASSWORD_FILE")
    flags = argparse.ArgumentParser(add_help=False)
    flags.add_argument(
        "--file",
        type=Path,
        default=Path(os.environ.get("SINK_OUTPUT_PATH") or "output/metrics.json"),
        help="the metrics file, with the finished files beside it, or one of these (SINK_OUTPUT_PATH)",
    )
    flags.add_argument(
        "--database",
        type=_address,
        default=os.environ.get("SINK_DATABASE_URL") or "sqlite:///output/metrics.db",
        metavar="URL",
        help="the sink's database (SINK_DATABASE_URL)",
    )
    flags.add_argument(
        "--database-password-file",
        type=Path,
        default=Path(password_file) if password_file else None,
        metavar="FILE",
        help="file with its password (SINK_DATABASE_PASSWORD_FILE)",
    )
    return flags


def _address(url: str) -> str:
    try:
        parse_address(url)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return url
