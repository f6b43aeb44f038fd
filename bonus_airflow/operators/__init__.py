"""Thin operators of the DAGs: they defer to a trigger and evaluate its event."""
