"""The project's version, reported by services and images, in the format of PEP 440; CHANGELOG.md describes each."""

VERSION = "0.2.0.dev0"
