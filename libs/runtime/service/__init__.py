"""The common parts of all services: settings, logs, health, signals, exit code."""
