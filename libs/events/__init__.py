"""The contract between the services: topics, events and their encoding. Imports no Kafka client and no service."""
