"""How fast the sink writes, beside the bare call that writes the same rows."""
