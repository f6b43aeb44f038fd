"""Whether this is a checkout or an image, for advice that differs between them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def is_checkout() -> bool:
    """Whether the make targets are here; no image has them."""
    return (ROOT / "Makefile").exists()
