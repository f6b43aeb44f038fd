"""The databases that the sink writes to: real ones."""
