"""Brokers that local mode does not have: Kafka 4 (KRaft), and a cluster of three."""
