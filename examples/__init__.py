"""Pipelines that are not orders: all of the runtime that they use is ``libs.runtime.api`` (docs/runtime.md)."""
