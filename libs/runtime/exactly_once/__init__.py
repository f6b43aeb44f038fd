"""The exactly-once engine: a replica processes its partitions in one transaction after the other."""
