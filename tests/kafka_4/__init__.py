"""Tests of differences on Kafka 4, and of the migration of a running pipeline from Kafka 3.9 with ZooKeeper."""
