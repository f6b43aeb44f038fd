"""Latency from an order to its processed order, and from a window's end to its line: ``python -m benchmarks.latency``."""
