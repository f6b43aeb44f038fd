"""Logging in to Kafka: settings, TLS files, tokens, and one clear message if authentication fails."""
