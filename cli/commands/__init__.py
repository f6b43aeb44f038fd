"""The subcommands. A file is imported only when one of its commands runs, so it may have slow imports."""
