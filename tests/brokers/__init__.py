"""Brokers other than local mode's: Kafka 4 without ZooKeeper, and a cluster of three."""
