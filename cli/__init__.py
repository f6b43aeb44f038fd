"""The command `pipeline`: its options, how it finds a pipeline, and one file for each group of its subcommands."""
