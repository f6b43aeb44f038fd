"""Kafka transactions with our own requests: each is sent once, and the producer ends after one without a response."""
