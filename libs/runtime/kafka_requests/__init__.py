"""Kafka requests in versions that aiokafka does not have, as classes for its client to send."""
