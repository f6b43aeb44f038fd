"""Kafka, ZooKeeper and the four services as plain processes on this machine, without Docker."""
