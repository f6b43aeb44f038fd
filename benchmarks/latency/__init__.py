"""How long an order takes to be seen, and a closed window to be in the file: ``python -m benchmarks.latency``."""
