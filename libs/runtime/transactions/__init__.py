"""Kafka transactions with our own requests: each is sent once, and the producer only aborts after one without a response."""
