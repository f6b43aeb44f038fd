"""The common parts of all services: settings, health, signals."""
