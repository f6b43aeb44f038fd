"""Kafka transactions, with requests of our own: each is sent once, and one without an answer ends the producer."""
