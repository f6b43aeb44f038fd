"""How our own services scale, what a replica costs, and how state grows: ``python -m benchmarks.scaling``."""
