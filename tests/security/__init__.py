"""Logging in to a real broker, in every way that the settings allow, and in wrong ones."""
