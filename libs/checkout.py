"""Whether this is a checkout or an image, for advice that differs between them."""

import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def is_checkout() -> bool:
    """Whether the make targets are here; no image has them."""
    return (ROOT / "Makefile").exists()


def pyarrow_advice() -> str:
    """How to install pyarrow for this program."""
    if is_checkout():
        return f"`{shlex.quote(sys.executable)} -m pip install -r services/sink/requirements-parquet.txt`"
    return "build the image with it: SINK_ROTATED_FORMAT=parquet in `.env`, then `docker compose build cli`"
