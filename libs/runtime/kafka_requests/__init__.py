"""Kafka requests in versions that aiokafka does not have, as classes that its client can send."""
