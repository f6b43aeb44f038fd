"""The exactly-once engine: a replica works its partitions in one transaction after the other."""
