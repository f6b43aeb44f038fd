"""Paths that all programs of local mode can work in."""

from pathlib import Path

from local.errors import LocalModeError

# Kafka takes a comma for the end of a folder's name, Java a colon or an asterisk in its class path; a backslash is an escape
# in Java's properties, # and ? end the path in a URL, a percent sign is special to the supervisor, where ; begins a comment.
_SPECIAL = frozenset(',:*\\#?%;"')


def check_path(path: Path) -> None:
    """Raise LocalModeError when Kafka, ZooKeeper or the supervisor would take ``path`` for another one.

    Java reads properties as ISO 8859-1, and names of files by the locale: so only ASCII means the same to all of them.
    """
    odd = sorted({sign for sign in str(path) if sign in _SPECIAL or not (sign.isascii() and sign.isprintable())})
    if odd:
        raise LocalModeError(
            f"local mode cannot work in {path}: Kafka or the supervisor would misread {', '.join(map(repr, odd))}",
            advice="move the checkout, or set LOCAL_DIR, to a path of plain ASCII without "
            + " ".join(sorted(_SPECIAL)),
        )
