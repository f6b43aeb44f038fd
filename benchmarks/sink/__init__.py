"""Compares the sink's speed with bare calls that write the same rows."""
