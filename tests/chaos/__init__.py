"""Faults injected on purpose into real services on a real broker, and what came of it, against an independent truth.

`pipeline chaos` runs all of it (``make chaos``); a short form is among the tests.
"""
