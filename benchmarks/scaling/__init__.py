"""Measures how our services scale, the cost of a replica, and the growth of state: ``python -m benchmarks.scaling``."""
