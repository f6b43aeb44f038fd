"""The schema's migrations, one SQL file each, ordered by their numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from libs.runtime.errors import PipelineError

_FOLDER = Path(__file__).parent / "schema"


class SchemaError(PipelineError):
    """The database's schema is not known to this sink."""


@dataclass(frozen=True)
class Migration:
    """The SQL that migrates a schema from the previous version to ``version``."""

    version: int
    statements: str


def migrations(dialect: str) -> list[Migration]:
    """All migrations of ``postgresql`` or ``sqlite``, oldest first."""
    files = sorted((_FOLDER / dialect).glob("*.sql"))
    return [Migration(int(file.name.partition("_")[0]), file.read_text("utf-8")) for file in files]


def pending(known: Sequence[Migration], version: int) -> list[Migration]:
    """The migrations that a schema of ``version`` lacks; raises ``SchemaError`` if a newer sink has migrated it."""
    if known and version > known[-1].version:
        raise SchemaError(
            f"the database's schema has version {version}, this sink knows {known[-1].version}",
            advice="run the newer sink that made it, or give another SINK_DATABASE_URL",
        )
    return [each for each in known if each.version > version]
