"""Other pipelines on the runtime, which import ``libs.runtime.api`` only (docs/runtime.md)."""
