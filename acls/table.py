"""The rights of each role as a Markdown table, for docs/security.md."""

from collections.abc import Iterator
from itertools import groupby

from libs.events.rights import ROLES
from libs.runtime.rights.right import Right

_HEAD = "| principal | operation | resource | for what | without it |\n| --- | --- | --- | --- | --- |\n"


def markdown() -> str:
    """The table; names without ``TOPIC_PREFIX``."""
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for role in ROLES for row in _rows(role.name, role.rights))


def _rows(role: str, rights: tuple[Right, ...]) -> Iterator[tuple[str, ...]]:
    principal = f"`{role}`"
    for (resource, operation, why, optional), alike in groupby(rights, _kind):
        names = ", ".join(f"`{each.name}{'*' if each.prefixed else ''}`" for each in alike)
        yield principal, operation, f"{resource} {names}", why, optional or "it ends"
        principal = ""


def _kind(right: Right) -> tuple[str, str, str, str]:
    return right.resource.words, right.operation.name, right.why, right.optional
