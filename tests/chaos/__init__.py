"""Injects faults into real services on a real broker, and verifies the results against an independent ground truth.

`pipeline chaos` runs all of it (``make chaos``); a short form is among the tests.
"""
