"""Operators of the DAGs, thin: they defer to a trigger and judge its event."""
