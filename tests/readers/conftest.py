"""The PostgreSQL server of the database's tests."""

from tests.databases.conftest import postgres

__all__ = ["postgres"]
