"""The checkout's folder, and whether all programs of local mode can use a path."""

from pathlib import Path

from local.errors import LocalModeError

ROOT = Path(__file__).resolve().parents[1]
# The comma separates folders in Kafka's log.dirs; colon and asterisk are special in Java's class path, the backslash in its
# properties, the number sign and ? in a URL, percent sign and semicolon in the supervisor's configuration.
_SPECIAL = frozenset(',:*\\#?%;"')


def check_path(path: Path) -> None:
    """Raise LocalModeError if Kafka, ZooKeeper or the supervisor would misinterpret ``path``.

    Java reads properties as ISO 8859-1, and file names in the locale's encoding, so only ASCII is safe.
    """
    odd = sorted({sign for sign in str(path) if sign in _SPECIAL or not (sign.isascii() and sign.isprintable())})
    if odd:
        raise LocalModeError(
            f"local mode cannot work in {path}: Kafka or the supervisor would misread {', '.join(map(repr, odd))}",
            advice="move the checkout, or set LOCAL_DIR, to a path of plain ASCII without "
            + " ".join(sorted(_SPECIAL)),
        )
