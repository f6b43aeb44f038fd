"""The subcommands. Each file is imported only when one of its commands runs, so it may import what is heavy."""
