"""The project's version, which services and images tell. Its format is PEP 440's; CHANGELOG.md says what is in it."""

VERSION = "0.2.0.dev0"
